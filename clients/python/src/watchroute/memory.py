"""What a watch keeps of what it was told, so that nothing is told twice."""

from __future__ import annotations

from typing import Generic, TypeVar

from .event import Resource

T = TypeVar("T")


class Told:
    """The revision of each name that was told since the last token."""

    def __init__(self) -> None:
        self._revisions: dict[str, int] = {}

    def is_new(self, name: str, revision: int) -> bool:
        """Whether a change is to be told; from then on it counts as told."""
        if self._revisions.get(name, -1) >= revision:
            return False
        self._revisions[name] = revision
        return True

    def passed(self, revision: int) -> None:
        """A token stands at a revision: what is not newer does not come again."""
        if self._revisions:
            self._revisions = {n: r for n, r in self._revisions.items() if r > revision}

    def clear(self) -> None:
        self._revisions.clear()


class Held(Generic[T]):
    """The last whole value of each name, for deltas; it can go back to what it was at the last token."""

    def __init__(self) -> None:
        self._values: dict[str, Resource[T]] = {}
        self._undo: dict[str, Resource[T] | None] = {}

    def get(self, name: str) -> Resource[T] | None:
        return self._values.get(name)

    def set(self, name: str, resource: Resource[T] | None) -> None:
        """Holds a resource, or that there is none."""
        if name not in self._undo:
            self._undo[name] = self._values.get(name)
        self._put(name, resource)

    def _put(self, name: str, resource: Resource[T] | None) -> None:
        if resource is None:
            self._values.pop(name, None)
        else:
            self._values[name] = resource

    def keep(self) -> None:
        """A token has come."""
        self._undo.clear()

    def rewind(self) -> None:
        """Goes back to the last token."""
        for name, resource in self._undo.items():
            self._put(name, resource)
        self._undo.clear()

    def clear(self) -> None:
        self._values.clear()
        self._undo.clear()
