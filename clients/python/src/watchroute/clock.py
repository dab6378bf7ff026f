"""Time, as the client asks for it: injected, so that tests need not wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """Prevents the call."""


class Clock(Protocol):
    """What the client measures time by. All of it is in seconds."""

    def monotonic(self) -> float:
        """A time that never goes back."""

    def time(self) -> float:
        """The time of day, since the epoch."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Calls back, in the running event loop, once `delay` has passed."""


class SystemClock:
    """The clock of the machine and of the running event loop."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(delay, callback)


async def sleep(clock: Clock, delay: float) -> None:
    """Returns once `delay` seconds have passed; at once where it is not positive."""
    if delay <= 0:
        return
    woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    timer = clock.call_later(delay, wake)
    try:
        await woken
    finally:
        timer.cancel()


async def within(clock: Clock, future: asyncio.Future[Any], delay: float) -> bool:
    """Returns once a future is done or `delay` seconds have passed; says whether it is done."""
    woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake(_: object = None) -> None:
        if not woken.done():
            woken.set_result(None)

    timer = clock.call_later(delay, wake)
    future.add_done_callback(wake)
    try:
        await woken
    finally:
        timer.cancel()
        future.remove_done_callback(wake)
    return future.done()


class Silence:
    """Measures how long a stream says nothing while somebody reads it.

    One timer serves many reads: it is not set anew by each of them.
    """

    def __init__(self, clock: Clock, expired: Callable[[], None]) -> None:
        self._clock = clock
        self._expired = expired
        self._deadline: float | None = None
        self._timer: Timer | None = None
        self._rings = 0.0

    def start(self, limit: float) -> None:
        """A read begins, which may take `limit` seconds."""
        self._deadline = self._clock.monotonic() + limit
        if self._timer is None or self._rings > self._deadline:
            self._set(limit)

    def stop(self) -> None:
        """The read is over."""
        self._deadline = None

    def close(self) -> None:
        """Nothing is measured any more."""
        self._deadline = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings = self._clock.monotonic() + delay
        self._timer = self._clock.call_later(delay, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        left = self._deadline - self._clock.monotonic()
        if left > 0:
            self._set(left)
        else:
            self._deadline = None
            self._expired()
