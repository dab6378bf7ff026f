"""What a program writes and lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from .event import Resource
from .v1 import resource_pb2, service_pb2
from .value import encode

T = TypeVar("T")

Precondition = service_pb2.Precondition
"""What must hold at the moment of writing: `Precondition(must_not_exist=True)`, `Precondition(revision=7)`
or `Precondition(etag="...")`. The error has the present `revision` and `etag` in its metadata."""


@dataclass(slots=True)
class Put:
    """Creates or replaces a resource, as part of a batch."""

    name: str
    data: Message | dict[str, Any]
    labels: Mapping[str, str] = field(default_factory=dict)
    precondition: Precondition | None = None

    def resource(self) -> resource_pb2.Resource:
        return resource_pb2.Resource(name=self.name, data=encode(self.data), labels=self.labels)

    def operation(self) -> service_pb2.Operation:
        return service_pb2.Operation(put=self.resource(), precondition=self.precondition)


@dataclass(slots=True)
class Delete:
    """Removes a resource, if there is one, as part of a batch."""

    name: str
    precondition: Precondition | None = None

    def operation(self) -> service_pb2.Operation:
        return service_pb2.Operation(delete=self.name, precondition=self.precondition)


@dataclass(slots=True)
class Written:
    """What a write did."""

    revision: int
    """From which on reads show it: for `min_revision` and `Mirror.wait_for`."""
    changed: bool
    """Whether anything changed."""
    name: str
    etag: str
    """Of what was put."""


@dataclass(slots=True)
class Batch:
    """What a batch did."""

    revision: int
    results: list[Written]
    """One for each operation, in their order."""


@dataclass(slots=True)
class Page(Generic[T]):
    """A part of a list."""

    resources: list[Resource[T]]
    next_page_token: str
    """Empty on the last page."""
    revision: int
    """That the list, with all of its pages, is of."""
    resume_token: str
    """Continues the list as a watch of the same parent, filter and projection."""


def written_of(raw: service_pb2.WriteResponse) -> Written:
    return Written(raw.revision, raw.changed, raw.resource.name, raw.resource.etag)
