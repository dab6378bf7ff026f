"""A gRPC server on loopback that says what a test tells it to."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.rpc import status_pb2

import watchroute
from virtual import ManualClock
from watchroute.v1 import service_pb2, service_pb2_grpc, watch_pb2

END = object()
"""Ends a stream in order."""


class Call:
    """One stream that a client has opened."""

    def __init__(self, context: Any) -> None:
        self.metadata = dict(context.invocation_metadata())
        self.context = context
        self.requests: asyncio.Queue[Any] = asyncio.Queue()
        self.says: asyncio.Queue[Any] = asyncio.Queue()
        self.over = asyncio.Event()

    def say(self, *messages: Any) -> None:
        for m in messages:
            self.says.put_nowait(m)

    async def asked(self, kind: str) -> Any:
        """The next message of the client, which must be of that kind."""
        m = await self.requests.get()
        assert m.WhichOneof("body") == kind, m
        return getattr(m, kind)


async def abort(context: Any, status: status_pb2.Status) -> None:
    code = next(c for c in grpc.StatusCode if c.value[0] == status.code)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    await context.abort(code, status.message)


class Servicer(service_pb2_grpc.ResourceServiceServicer):
    def __init__(self) -> None:
        self.calls: asyncio.Queue[Call] = asyncio.Queue()
        self.unary: list[Any] = []  # the answers
        self.asked: list[tuple[str, Any, dict[str, Any]]] = []

    async def _say(self, call: Call) -> AsyncIterator[Any]:
        try:
            while (m := await call.says.get()) is not END:
                if isinstance(m, status_pb2.Status):
                    await abort(call.context, m)
                yield m
        finally:
            call.over.set()

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        call = Call(context)
        call.requests.put_nowait(request)
        self.calls.put_nowait(call)
        async for m in self._say(call):
            yield m

    async def Session(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        call = Call(context)
        self.calls.put_nowait(call)

        async def receive() -> None:
            async for r in requests:
                call.requests.put_nowait(r)

        task = asyncio.create_task(receive())
        try:
            async for m in self._say(call):
                yield m
        finally:
            task.cancel()

    async def _answer(self, method: str, request: Any, context: Any) -> Any:
        self.asked.append((method, request, dict(context.invocation_metadata())))
        answer = self.unary.pop(0)
        if isinstance(answer, status_pb2.Status):
            await abort(context, answer)
        return answer

    async def Get(self, request: Any, context: Any) -> Any:
        return await self._answer("Get", request, context)

    async def List(self, request: Any, context: Any) -> Any:
        return await self._answer("List", request, context)

    async def Put(self, request: Any, context: Any) -> Any:
        return await self._answer("Put", request, context)

    async def Delete(self, request: Any, context: Any) -> Any:
        return await self._answer("Delete", request, context)

    async def Write(self, request: Any, context: Any) -> Any:
        return await self._answer("Write", request, context)


@contextlib.asynccontextmanager
async def serving(clock: ManualClock | None = None, **options: Any) -> AsyncIterator[tuple[Servicer, watchroute.Client]]:
    """A server, and a client of it whose time is the clock's."""
    server = grpc.aio.server()
    servicer = Servicer()
    service_pb2_grpc.add_ResourceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    client = watchroute.Client(f"127.0.0.1:{port}", clock=clock or ManualClock(), rng=random.Random(1), **options)
    try:
        yield servicer, client
    finally:
        await client.close()
        await server.stop(None)


def of(watch_id: str, message: watch_pb2.WatchResponse, *also: str) -> watch_pb2.SessionResponse:
    return watch_pb2.SessionResponse(watch_id=watch_id, watch=message, also_watch_ids=also)


def closed(watch_id: str, status: status_pb2.Status) -> watch_pb2.SessionResponse:
    return watch_pb2.SessionResponse(watch_id=watch_id, closed=status)


WRITTEN = service_pb2.WriteResponse(revision=7, changed=True)
