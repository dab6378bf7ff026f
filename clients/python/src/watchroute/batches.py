"""Batches: what a watch tells, in lists that come at most so often."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Generic, TypeVar

from .clock import Clock, within
from .event import Event, Kind
from .fold import Ended

if TYPE_CHECKING:
    from .watch import Watch

T = TypeVar("T")


# How long nothing comes, in seconds, when all that was on its way is read.
LULL = 0.001


class Batches(Generic[T]):
    """Gives the events of a watch in lists: `async for batch in watch.batches(0.5)`.

    Order: in a batch each name has one event, its last, and these stand in the order in which they
    came. RESET is the first event of its batch and drops what came before it. SYNCED is the last of its
    batch. Blocking: while the program is busy with a batch nothing more is read, but one read may have
    begun; one that takes longer than `every` is then given all that is on its way. Memory is bounded
    by the names in one batch. Lifetime: the watch ends with it, by `aclose`, or when nobody holds it
    any more, as behind a loop that was left. A call for the next batch may be cancelled, say by
    `asyncio.wait_for`: no event is lost by it.

    An error is raised behind the batch of what came before it. A store gets the token once the program
    asks for the next batch; `watch.token` may be ahead of it.
    """

    def __init__(self, watch: Watch[T], every: float, clock: Clock) -> None:
        """Watch.batches makes batches."""
        self._watch, self._every, self._clock = watch, every, clock
        self._reset: Event[T] | None = None
        self._last: dict[str, Event[T]] = {}  # of each name, the one that came last behind the others
        self._synced: Event[T] | None = None
        self._due: float | None = None  # when the next batch may be given; None: now
        self._error: Exception | None = None
        self._take(watch.rest())

    def __aiter__(self) -> Batches[T]:
        return self

    async def __anext__(self) -> list[Event[T]]:
        watch = self._watch
        self._keep()
        began = self._clock.monotonic()
        late = self._due is not None and began >= self._due  # the program took longer
        behind = False                                       # and something waited for it
        try:
            while self._error is None and self._synced is None:
                wait = self._wait()
                if behind and wait is not None:
                    wait = min(LULL, began + self._every - self._clock.monotonic())
                if wait is not None and (wait <= 0 or not await within(self._clock, watch.begin(), wait)):
                    break
                self._take((await watch.advance()).events)
                self._keep()
                if late:
                    late, behind = False, self._clock.monotonic() - began <= LULL
        except Ended:
            await watch.close()
            raise StopAsyncIteration from None
        except Exception as e:
            self._error = e
        batch = self._batch()
        if not batch and self._error is not None:
            await watch.close()
            raise self._error
        self._due = self._clock.monotonic() + self._every
        return batch

    async def aclose(self) -> None:
        """Ends the watch, saves the token behind the last batch that the program is done with, and waits
        for what the watch has started."""
        await self._watch.close()

    async def __aenter__(self) -> Batches[T]:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self.aclose()

    def __del__(self) -> None:
        self._watch.drop()

    def _empty(self) -> bool:
        return not self._last and self._reset is None and self._synced is None

    def _keep(self) -> None:
        if self._empty():  # the program is done with all that was read
            self._watch.keep()

    def _wait(self) -> float | None:
        """How long to go on reading before a batch is given. None: until there is something."""
        if self._empty():
            return None
        return 0.0 if self._due is None else self._due - self._clock.monotonic()

    def _take(self, events: list[Event[T]]) -> None:
        for event in events:
            if event.kind is Kind.RESET:
                self._reset = event
                self._last.clear()
            elif event.kind is Kind.SYNCED:
                self._synced = event
            else:
                self._last.pop(event.name, None)
                self._last[event.name] = event

    def _batch(self) -> list[Event[T]]:
        batch = list(self._last.values())
        if self._reset is not None:
            batch.insert(0, self._reset)
        if self._synced is not None:
            batch.append(self._synced)
        self._last.clear()
        self._reset = self._synced = None
        return batch
