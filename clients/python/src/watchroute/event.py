"""What a program sees of a watch: events, and resources."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Generic, TypeVar

from .v1 import resource_pb2

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Kind(str, Enum):
    """What an event says."""

    PRESENT = "PRESENT"
    """The resource is this, whole: store it under its name."""
    ABSENT = "ABSENT"
    """It is deleted, or has left the scope: remove the name."""
    SYNCED = "SYNCED"
    """The state is complete and equals `list` at `revision`. Once for each snapshot."""
    RESET = "RESET"
    """What was told is void: drop what you hold. The state follows anew."""

    def __str__(self) -> str:
        return self.value


@dataclass(slots=True)
class Resource(Generic[T]):
    """One named thing at one revision."""

    name: str
    """COLLECTION/ID, such as `orders/42`."""
    data: T
    """The value: the collection's message, or a dict where it has no schema."""
    revision: int = 0
    """Of the change that made this state; comparable within a collection only."""
    uid: str = ""
    create_revision: int = 0
    etag: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    created: int = 0
    """When the resource was created, in nanoseconds since the epoch; 0: not known."""
    updated: int = 0
    """When this state was written, in nanoseconds since the epoch; 0: not known."""

    @property
    def id(self) -> str:
        """The name without the collection."""
        return self.name.partition("/")[2]

    @property
    def create_time(self) -> datetime:
        """`created`, to the microsecond, in UTC."""
        return _EPOCH + timedelta(microseconds=self.created // 1000)

    @property
    def update_time(self) -> datetime:
        """`updated`, to the microsecond, in UTC."""
        return _EPOCH + timedelta(microseconds=self.updated // 1000)


def resource_of(raw: resource_pb2.Resource, data: T) -> Resource[T]:
    """Gives a resource of the contract with its decoded value. Nothing of `raw` is kept."""
    created, updated = raw.create_time, raw.update_time
    return Resource(raw.name, data, raw.revision, raw.uid, raw.create_revision, raw.etag, dict(raw.labels),
                    created.seconds * 1_000_000_000 + created.nanos, updated.seconds * 1_000_000_000 + updated.nanos)


@dataclass(slots=True)
class Event(Generic[T]):
    """One thing that a watch tells."""

    kind: Kind
    revision: int
    """Where the event stands. Of PRESENT and ABSENT: the change's revision."""
    name: str = ""
    """Of PRESENT and ABSENT: COLLECTION/ID."""
    resource: Resource[T] | None = None
    """Of PRESENT."""
    cause: str = ""
    """Of PRESENT and ABSENT, for display: CREATED, UPDATED, ENTERED, DELETED or LEFT."""
    coalesced: int = 0
    """How many further changes of the name were folded into this one."""
    reason: str = ""
    """Of RESET: COMPACTED, SCOPE, EPOCH, ACCESS, or INTERRUPTED where a snapshot was cut."""

    @property
    def id(self) -> str:
        """The name without the collection."""
        return self.name.partition("/")[2]

    @property
    def data(self) -> T | None:
        """The value. Of PRESENT."""
        return self.resource.data if self.resource is not None else None
