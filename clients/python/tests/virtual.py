"""Time that passes only when a test says so, or as soon as something waits for it."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable


class _Timer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """Stands still but for `advance`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[tuple[float, int, _Timer]] = []
        self._count = 0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_700_000_000.0 + self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> _Timer:
        timer = _Timer(callback)
        self._count += 1
        heapq.heappush(self._timers, (self.now + delay, self._count, timer))
        return timer

    def pending(self) -> list[float]:
        """In how many seconds each timer rings."""
        return sorted(due - self.now for due, _, t in self._timers if t.callback is not None)

    async def advance(self, seconds: float) -> None:
        end = self.now + seconds
        await settle()
        while self._timers and self._timers[0][0] <= end:
            self.now, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()
                await settle()
        self.now = end


class AutoClock(ManualClock):
    """Jumps to the next timer whenever one is waited for."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> _Timer:
        timer = super().call_later(delay, callback)
        asyncio.get_running_loop().call_soon(self._jump)
        return timer

    def _jump(self) -> None:
        due, _, timer = heapq.heappop(self._timers)
        if timer.callback is not None:
            self.now = max(self.now, due)
            timer.callback()


async def settle() -> None:
    """Lets everything run that can."""
    for _ in range(50):
        await asyncio.sleep(0)


async def leftover() -> set[asyncio.Task[object]]:
    """The tasks that run beside the test's own, once all of them had time to end."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    if tasks:
        await asyncio.wait(tasks, timeout=5)
    return {t for t in asyncio.all_tasks() - {asyncio.current_task()} if not t.done()}
