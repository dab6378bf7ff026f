"""What a watch reads its messages from."""

from __future__ import annotations

import asyncio
from typing import Protocol

import grpc
from google.protobuf.message import DecodeError

from .connection import Connection, Connections, WatchCall
from .errors import WatchrouteError, from_rpc, not_watchroute
from .v1 import watch_pb2


class Stream(Protocol):
    """The messages of one watch, as long as one connection lasts. One task reads it."""

    @property
    def credential(self) -> str | None:
        """The one that the connection was made with."""

    @property
    def bytes(self) -> int:
        """How much was received; 0 where that is not known."""

    async def read(self) -> watch_pb2.WatchResponse | None:
        """Gives the next message. None: the stream has ended in order.

        Raises WatchrouteError where it failed or was cancelled. It takes from the connection only
        while it is asked to; asking says that the program is done with the message before.
        """

    def wait(self) -> float | None:
        """How long to wait before coming back, in seconds, where the connection decides that for
        all watches that it carried. None: each for itself."""

    def cancel(self, cause: WatchrouteError | None = None, *, silent: bool = False) -> None:
        """Ends the stream; who reads it gets the cause. `silent`: the connection is of no use."""


class Transport(Protocol):
    """Where streams come from."""

    async def open(self, request: watch_pb2.WatchRequest) -> Stream:
        """Opens a stream. It does not wait for a connection. Raises what the provider of
        credentials raises."""


class Streams:
    """Each stream is a call of its own."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def open(self, request: watch_pb2.WatchRequest) -> Stream:
        credential = await self._connections.credentials.get()
        connection = self._connections.acquire()
        call = connection.watch(request, metadata=self._connections.metadata(credential))
        return CallStream(connection, call, credential)


class CallStream:
    """A stream that is a call of `ResourceService.Watch`."""

    def __init__(self, connection: Connection, call: WatchCall,
                 credential: str | None) -> None:
        self.credential = credential
        self.bytes = 0
        self._connection: Connection | None = connection
        self._call = call
        self._cause: WatchrouteError | None = None

    async def read(self) -> watch_pb2.WatchResponse | None:
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as e:
            self._release()
            raise from_rpc(e) from e
        except asyncio.CancelledError:
            if self._cause is None:
                raise
            raise self._cause from None
        if not isinstance(message, bytes):  # the end
            self._release()
            return None
        self.bytes += len(message)
        try:
            return watch_pb2.WatchResponse.FromString(message)
        except DecodeError as e:
            raise not_watchroute(f"a message cannot be decoded: {e}") from e

    def wait(self) -> float | None:
        return None

    def cancel(self, cause: WatchrouteError | None = None, *, silent: bool = False) -> None:
        if self._cause is None:
            self._cause = cause
        if silent and self._connection is not None:
            self._connection.retire()
        self._call.cancel()
        self._release()

    def _release(self) -> None:
        if self._connection is not None:
            self._connection.release()
            self._connection = None
