"""Unary calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import Message

from .backoff import Backoff
from .clock import Clock, sleep
from .connection import Connections
from .errors import WatchrouteError, client_closed, from_rpc


ATTEMPTS = 5
"""How often a write with a request id is made at most."""


class Calls:
    """Makes unary calls."""

    def __init__(self, connections: Connections, clock: Clock, backoff: Callable[[], Backoff],
                 timeout: float | None) -> None:
        self._connections, self._clock, self._backoff, self._timeout = connections, clock, backoff, timeout
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def call(self, method: str, request: Message, timeout: float | None, *, again: bool = False) -> Any:
        """Makes one call within `timeout` seconds; None: the client's. Raises WatchrouteError.

        `again`: as often as that helps, up to ATTEMPTS times and until the time is over.
        """
        if self._closed:
            raise client_closed()
        # A task of its own tells whether the client was closed or who waits was cancelled.
        task = asyncio.get_running_loop().create_task(self._call(method, request, timeout, again))
        self._running.add(task)
        task.add_done_callback(self._over)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            raise
        if task.cancelled():
            raise client_closed()
        return task.result()

    async def close(self) -> None:
        """Ends all calls, and takes no more."""
        self._closed = True
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # who called may have gone away

    async def _call(self, method: str, request: Message, timeout: float | None, again: bool) -> Any:
        timeout = self._timeout if timeout is None else timeout
        end = None if timeout is None else self._clock.monotonic() + timeout
        backoff = self._backoff()
        made = 0
        while True:
            made += 1
            try:
                return await self._once(method, request, end)
            except WatchrouteError as e:
                if not again or made == ATTEMPTS or e.retry_after is None and e.code is not grpc.StatusCode.UNAVAILABLE:
                    raise
                wait = max(backoff.next(), e.retry_after or 0.0)
                if end is not None and self._clock.monotonic() + wait >= end:
                    raise
            await sleep(self._clock, wait)

    def _left(self, end: float | None) -> float | None:
        return None if end is None else end - self._clock.monotonic()

    async def _once(self, method: str, request: Message, end: float | None) -> Any:
        credentials = self._connections.credentials
        try:
            credential = await asyncio.wait_for(credentials.get(), self._left(end))
        except asyncio.TimeoutError as e:
            raise WatchrouteError(grpc.StatusCode.DEADLINE_EXCEEDED, "no credential was given in time") from e
        metadata = self._connections.metadata(credential)
        connection = self._connections.acquire()
        try:
            return await getattr(connection, method)(request, timeout=self._left(end), metadata=metadata)
        except grpc.aio.AioRpcError as e:
            error = from_rpc(e)
            if error.code is grpc.StatusCode.UNAUTHENTICATED:
                credentials.refuse()
            raise error from e
        finally:
            connection.release()
