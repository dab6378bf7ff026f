"""A read-only copy of a collection, or of a part of it, that is always current."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from types import TracebackType
from typing import Generic, TypeVar, Union

import grpc

from .clock import Clock
from .errors import WatchrouteError
from .event import Event, Kind, Resource
from .fold import Ended, Step
from .state import State
from .value import Codec
from .watch import Watch

T = TypeVar("T")


@dataclass(slots=True)
class Change(Generic[T]):
    """What became of one name."""

    name: str
    before: Resource[T] | None
    """None: it was not there."""
    after: Resource[T] | None
    """None: it is not there any more."""
    revision: int
    cause: str
    """For display: CREATED, UPDATED, ENTERED, DELETED or LEFT. Empty where the copy was compared
    with a new state."""
    coalesced: int = 0


Callback = Callable[[Change[T]], Union[Awaitable[None], None]]
Index = Callable[[Resource[T]], Iterable[Hashable]]


class Mirror(Generic[T]):
    """A copy that shows the state at one revision, always: changes are taken over all at once where
    the watch could be cut.

    It begins by itself, in the event loop in which it is made, and goes on until `close`. While
    connections break it answers with what it has, which `live_as_of` dates. What it hands out is
    the caller's own: it never changes.
    """

    def __init__(self, watch: Watch[T], codec: Codec[T], indexes: Mapping[str, Index[T]], clock: Clock,
                 log: logging.Logger) -> None:
        """`watch` is one that tells events again behind a cut. Client.mirror makes mirrors."""
        self.watch = watch
        """What the copy is made from, for `Client(on_state=...)`."""
        self._codec, self._clock, self._log = codec, clock, log
        request = watch.request
        self._parent = request.parent or (request.names[0].partition("/")[0] if request.names else "")
        self._resources: dict[str, Resource[T]] = {}
        self._order: list[str] | None = []  # the names; None: to be sorted
        self._indexes = {name: _Index(function, log) for name, function in indexes.items()}
        self._staged: list[Event[T]] = []  # since the last token
        self._anew = True  # what is staged is a whole state
        self._callbacks: list[Callback[T]] = []
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._synced = False
        self._live_as_of: float | None = None
        self.revision = 0
        """Of the state that the copy shows; 0: there is none yet."""
        self.error: Exception | None = None
        """Why the mirror ended, as of a watch; None: it has not, or was closed."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def state(self) -> State:
        return self.watch.state

    @property
    def live_as_of(self) -> datetime | None:
        """When the copy was last known to be current: the time of the last message while LIVE. None: never."""
        if self._live_as_of is None:
            return None
        return datetime.fromtimestamp(self._live_as_of, timezone.utc)

    def get(self, name: str) -> Resource[T] | None:
        """Gives the resource of a name or id; None: there is none."""
        if "/" not in name:
            name = f"{self._parent}/{name}"
        return self._out(self._resources.get(name))

    def list(self) -> Sequence[Resource[T]]:
        """Gives all resources, in the order of their names."""
        if self._order is None:
            self._order = sorted(self._resources)
        return [self._own(self._resources[name]) for name in self._order]

    def index(self, index: str, key: Hashable) -> Sequence[Resource[T]]:
        """Gives the resources that an index has under a key, in the order of their names."""
        return [self._own(self._resources[name]) for name in sorted(self._indexes[index].names(key))]

    def __len__(self) -> int:
        return len(self._resources)

    def __contains__(self, name: str) -> bool:
        return name in self._resources or f"{self._parent}/{name}" in self._resources

    def on_change(self, callback: Callback[T]) -> Callable[[], None]:
        """Has a function, which may be async, told each change from now on, in order, once the copy
        shows it. While it runs the copy stands still. What it raises is logged. Gives the function
        that ends this."""
        self._callbacks.append(callback)

        def remove() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return remove

    async def synced(self) -> None:
        """Returns once there is a first state. Raises the WatchrouteError that the mirror ends with."""
        await self.wait_for(0)

    async def wait_for(self, revision: int) -> None:
        """Returns once the copy shows at least that revision, such as the one of a write.
        Raises the WatchrouteError that the mirror ends with."""
        if self._synced and self.revision >= revision:
            return
        if self._task.done():
            raise self.error or _closed()
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((revision, reached))
        try:
            await reached
        finally:
            self._waiting = [w for w in self._waiting if w[1] is not reached]

    async def closed(self) -> None:
        """Returns once the mirror has ended; `error` says why."""
        await asyncio.wait([self._task])

    async def close(self) -> None:
        """Ends the mirror. The copy can still be read."""
        self.watch.cancel()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.watch.close()

    async def __aenter__(self) -> Mirror[T]:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self.close()

    async def _run(self) -> None:
        try:
            while True:
                step = await self.watch.advance()
                if self.watch.state is State.LIVE:
                    self._live_as_of = self._clock.time()
                await self._take(step)
        except Ended:
            pass
        except Exception as e:
            self.error = e
            self.watch.cancel()
        finally:
            for _, reached in self._waiting:
                if not reached.done():
                    reached.set_exception(self.error or _closed())

    async def _take(self, step: Step[T]) -> None:
        if step.began:
            self._staged.clear()
        for event in step.events:
            if event.kind is Kind.RESET:
                self._staged.clear()
                self._anew = True
            elif event.kind is not Kind.SYNCED:
                self._staged.append(event)
        if not step.token:
            return
        changes = self._compare() if self._anew else self._apply()
        self._staged.clear()
        self._anew = False
        self.revision = step.revision
        self._synced = True
        for revision, reached in self._waiting:
            if revision <= step.revision and not reached.done():
                reached.set_result(None)
        for change in changes:
            await self._tell(change)

    def _compare(self) -> Sequence[Change[T]]:
        state = {event.name: event for event in self._staged if event.resource is not None}
        changes = []
        for name in (*sorted(self._resources.keys() - state.keys()), *state):
            before, event = self._resources.get(name), state.get(name)
            after = event.resource if event is not None else None
            if before == after:
                continue
            cause = event.cause if event is not None and before is None else ""
            revision = after.revision if after is not None else before.revision if before is not None else 0
            changes.append(Change(name, before, after, revision, cause, event.coalesced if event is not None else 0))
            self._put(name, before, after)
        return changes

    def _apply(self) -> Sequence[Change[T]]:
        changes = []
        for event in self._staged:
            before = self._resources.get(event.name)
            if before is None and event.resource is None:
                continue
            changes.append(Change(event.name, before, event.resource, event.revision, event.cause, event.coalesced))
            self._put(event.name, before, event.resource)
        return changes

    def _put(self, name: str, before: Resource[T] | None, after: Resource[T] | None) -> None:
        if (before is None) != (after is None):
            self._order = None
        if after is None:
            del self._resources[name]
        else:
            self._resources[name] = after
        for index in self._indexes.values():
            index.move(name, before, after)

    async def _tell(self, change: Change[T]) -> None:
        for callback in list(self._callbacks):
            own = Change(change.name, self._out(change.before), self._out(change.after), change.revision,
                         change.cause, change.coalesced)
            try:
                given = callback(own)
                if inspect.isawaitable(given):
                    await given
            except Exception:
                self._log.exception("a mirror's callback failed")

    def _out(self, resource: Resource[T] | None) -> Resource[T] | None:
        return self._own(resource) if resource is not None else None

    def _own(self, r: Resource[T]) -> Resource[T]:
        return Resource(r.name, self._codec.copy(r.data), r.revision, r.uid, r.create_revision, r.etag, dict(r.labels),
                        r.created, r.updated)


class _Index(Generic[T]):
    """The names under each key."""

    def __init__(self, function: Index[T], log: logging.Logger) -> None:
        self._function, self._log = function, log
        self._names: dict[Hashable, set[str]] = {}
        self._keys: dict[str, frozenset[Hashable]] = {}

    def names(self, key: Hashable) -> Iterable[str]:
        return self._names.get(key, ())

    def move(self, name: str, before: Resource[T] | None, after: Resource[T] | None) -> None:
        had = self._keys.pop(name, frozenset())
        keys = self._keys_of(after) if after is not None else frozenset()
        for key in had - keys:
            names = self._names[key]
            names.discard(name)
            if not names:
                del self._names[key]
        for key in keys - had:
            self._names.setdefault(key, set()).add(name)
        if keys:
            self._keys[name] = keys

    def _keys_of(self, resource: Resource[T]) -> frozenset[Hashable]:
        try:
            return frozenset(self._function(resource))
        except Exception:
            self._log.exception("a mirror's index failed for %s", resource.name)
            return frozenset()


def _closed() -> WatchrouteError:
    return WatchrouteError(grpc.StatusCode.CANCELLED, "the mirror was closed")
