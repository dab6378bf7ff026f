"""Connections: gRPC channels, and what every call on them carries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from .credential import Credentials
from .errors import client_closed
from .v1 import resource_pb2, service_pb2, watch_pb2

_SERVICE = "/watchroute.v1.ResourceService/"

WatchCall = grpc.aio.UnaryStreamCall[Any, bytes]
SessionCall = grpc.aio.StreamStreamCall[Any, bytes]
Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class TLS:
    """How a connection is encrypted."""

    ca: bytes | None = None
    """Authorities (PEM) by which the server is verified. None: those of the gRPC library."""
    cert: bytes | None = None
    """The client's own certificate, with its chain (PEM). None: none."""
    key: bytes | None = None
    """Its key (PEM)."""
    server_name: str = ""
    """What the server's certificate must be for. Empty: the host of the address."""


class Connection:
    """One channel. Who uses it says `release` in the end."""

    def __init__(self, channel: grpc.aio.Channel, unused: Callable[[Connection], None]) -> None:
        self.channel = channel
        self.users = 0
        self.retired = False
        self._unused = unused
        # Messages of streams come as bytes: what cannot be decoded is for the reader to judge.
        self.watch: Callable[..., WatchCall] = channel.unary_stream(
            _SERVICE + "Watch", watch_pb2.WatchRequest.SerializeToString, bytes)
        self.session: Callable[..., SessionCall] = channel.stream_stream(
            _SERVICE + "Session", watch_pb2.SessionRequest.SerializeToString, bytes)
        resource, written = resource_pb2.Resource.FromString, service_pb2.WriteResponse.FromString
        self.get = channel.unary_unary(_SERVICE + "Get", service_pb2.GetRequest.SerializeToString, resource)
        self.list = channel.unary_unary(
            _SERVICE + "List", service_pb2.ListRequest.SerializeToString, service_pb2.ListResponse.FromString)
        self.put = channel.unary_unary(_SERVICE + "Put", service_pb2.PutRequest.SerializeToString, written)
        self.delete = channel.unary_unary(_SERVICE + "Delete", service_pb2.DeleteRequest.SerializeToString, written)
        self.write = channel.unary_unary(
            _SERVICE + "Write", service_pb2.WriteRequest.SerializeToString, service_pb2.WriteBatchResponse.FromString)

    def release(self) -> None:
        self.users -= 1
        if self.users == 0 and self.retired:
            self._unused(self)

    def retire(self) -> None:
        """New calls get another channel; this one is closed when its last call is over."""
        self.retired = True


class Connections:
    """The channel of a client, and those before it that are still in use."""

    def __init__(self, address: str, credentials: Credentials, *, tls: TLS | None = None, tenant: str = "",
                 most: float = 30.0, options: Sequence[tuple[str, Any]] = ()) -> None:
        self._address, self._tls = address, tls
        self.credentials = credentials
        self._common: Metadata = (("watchroute-json", "text"),)
        if tenant:
            self._common += (("watchroute-tenant", tenant),)
        # The client has a back-off of its own: the channel's must not add to it. Each channel has
        # connections of its own, so that one that is broken is not given out again.
        reconnect = max(20, int(1000 * min(most, 1.0)))
        self._options: list[tuple[str, Any]] = [
            ("grpc.initial_reconnect_backoff_ms", min(100, reconnect)),
            ("grpc.max_reconnect_backoff_ms", reconnect),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_retries", 0),
            ("grpc.max_receive_message_length", 64 << 20),
            *options,
        ]
        if tls is not None and tls.server_name:
            self._options.append(("grpc.ssl_target_name_override", tls.server_name))
        self._current: Connection | None = None
        self._closed = False
        self._closing: set[asyncio.Task[None]] = set()
        self._all: set[Connection] = set()

    def acquire(self) -> Connection:
        """Gives the connection for a new call. Raises WatchrouteError once `close` was called."""
        if self._closed:
            raise client_closed()
        if self._current is None or self._current.retired:
            self._current = Connection(self._channel(), self._unused)
            self._all.add(self._current)
        self._current.users += 1
        return self._current

    def _channel(self) -> grpc.aio.Channel:
        if self._tls is None:
            return grpc.aio.insecure_channel(self._address, options=self._options)
        credentials = grpc.ssl_channel_credentials(self._tls.ca, self._tls.key, self._tls.cert)
        return grpc.aio.secure_channel(self._address, credentials, options=self._options)

    def metadata(self, credential: str | None) -> Metadata:
        """What a call says beside its request."""
        if credential is None:
            return self._common
        return (*self._common, ("authorization", f"Bearer {credential}"))

    def _unused(self, connection: Connection) -> None:
        self._all.discard(connection)
        task = asyncio.get_running_loop().create_task(connection.channel.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Ends every call and connection, for good."""
        self._closed = True
        connections, self._all = list(self._all), set()
        self._current = None
        for connection in connections:
            connection.retired = False  # it is closed here
            await connection.channel.close()
        while self._closing:
            await asyncio.gather(*self._closing)
