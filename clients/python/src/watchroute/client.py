"""The client."""

from __future__ import annotations

import hashlib
import logging
import random
import weakref
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar, overload

from google.protobuf.message import Message

from .backoff import Backoff
from .call import Calls
from .clock import Clock, SystemClock
from .connection import TLS, Connections
from .credential import Credentials, Provider
from .errors import client_closed
from .event import Resource, resource_of
from .mirror import Index, Mirror
from .session import Sessions
from .state import Counters
from .store import Store
from .stream import Streams, Transport
from .value import codec_of
from .watch import OnState, Setting, Watch
from .write import Batch, Delete, Page, Precondition, Put, Written, written_of
from .v1 import service_pb2, watch_pb2

M = TypeVar("M", bound=Message)


class Client:
    """Reads, writes and watches the resources of one server, over one connection.

    It connects when it is first used. Use it within one event loop, and say `await client.close()`
    in the end, or write `async with`.
    """

    def __init__(self, address: str, *, token: Provider | str | None = None, tenant: str = "",
                 tls: TLS | bool = False, session: bool = False, timeout: float | None = 10.0,
                 first: float = 1.0, most: float = 30.0, fail_fast: bool = False,
                 on_state: OnState | None = None, logger: logging.Logger | None = None,
                 options: Sequence[tuple[str, Any]] = (), clock: Clock | None = None,
                 rng: random.Random | None = None) -> None:
        """`address` is HOST:PORT of the server's gRPC.

        `token` is a JWT or an API key, or a function that gives one (see `Provider`), which is asked
        before each connection. `tenant` is for operators. `tls` is True for TLS with the common
        authorities, or says more. With `session` all watches share one stream.

        `timeout` is how long a unary call may take, in seconds; None: for ever. `first` and `most`
        are the ceilings, in seconds, of the waits before a watch comes back. With `fail_fast` a
        watch whose first connection fails ends with that error; a watch or mirror may have its own.

        `on_state` is told each state of each watch and its cause; it must not block. `logger` gets
        them too, at DEBUG. `options` are added to those of the gRPC channel.
        """
        if isinstance(tls, bool):
            tls_options = TLS() if tls else None
        else:
            tls_options = tls
        Backoff(first, most)  # checks them
        self._credentials = Credentials(token)
        self._connections = Connections(address, self._credentials, tls=tls_options, tenant=tenant, most=most, options=options)
        self._clock = clock or SystemClock()
        log = logger or logging.getLogger("watchroute")
        self._calls = Calls(self._connections, self._clock, lambda: Backoff(first, most, rng), timeout)
        self._sessions = Sessions(self._connections, self._clock, Backoff(first, most, rng), log) if session else None
        transport: Transport = self._sessions or Streams(self._connections)
        self._setting = Setting(transport, self._credentials, self._clock, lambda: Backoff(first, most, rng), fail_fast,
                                on_state, log)
        self._watches: weakref.WeakSet[Watch[Any]] = weakref.WeakSet()
        self._ended = Counters()  # of watches that nobody holds any more
        self._closed = False

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends all watches and calls, for good: what is asked for afterwards, and calls that are under
        way, raise WatchrouteError with CANCELLED."""
        self._closed = True
        await self._calls.close()
        for watch in list(self._watches):
            await watch.close()
        if self._sessions is not None:
            await self._sessions.close()
        await self._connections.close()

    @property
    def counters(self) -> Counters:
        """What has happened to all watches and mirrors until now, with those that have ended: a sum of its
        own, which does not go on."""
        living = list(self._watches)
        total = Counters()
        for counters in (self._ended, *(watch.counters for watch in living)):
            total.add(counters)
        return total

    @overload
    def watch(self, parent: str = "", type: None = None, *, names: Iterable[str] = (), filter: str = "",
              read_mask: Iterable[str] = (), start: str = "SNAPSHOT", resume_token: str = "",
              after_revision: int | None = None, min_revision: int = 0, delivery: str = "LATEST",
              min_interval: float = 0.0, heartbeat: float = 0.0, delta: bool = False, on_expired: str = "RESET",
              projection: str = "", store: Store | None = None, key: str = "", fail_fast: bool | None = None
              ) -> Watch[dict[str, Any]]: ...

    @overload
    def watch(self, parent: str, type: type[M], *, names: Iterable[str] = (), filter: str = "",
              read_mask: Iterable[str] = (), start: str = "SNAPSHOT", resume_token: str = "",
              after_revision: int | None = None, min_revision: int = 0, delivery: str = "LATEST",
              min_interval: float = 0.0, heartbeat: float = 0.0, delta: bool = False, on_expired: str = "RESET",
              projection: str = "", store: Store | None = None, key: str = "", fail_fast: bool | None = None
              ) -> Watch[M]: ...

    def watch(self, parent: str = "", type: Any = None, *, store: Store | None = None, key: str = "",
              fail_fast: bool | None = None, **options: Any) -> Watch[Any]:
        """Watches a collection, or a part of it: `async for event in client.watch("orders", Order)`.

        `type` is the message that the values are of; None: JSON objects, as dicts. `names` are full
        names, such as `orders/42`; none: all. `filter` is a CEL expression. `read_mask` names the
        fields of the value to send, `projection` another shape of it (then without `type`).

        The watch begins with the state; with `start="NOW"` with changes from now on; with
        `resume_token` (such as that of `list`) or `after_revision` with the changes after it. What
        cannot be resumed from says RESET, or with `on_expired="FAIL"` ends the watch.
        It does not answer from before `min_revision`: the one that a write returned.

        `delivery="EVERY_CHANGE"` skips no change; otherwise changes of one name may be folded.
        `min_interval` is the least time between two deliveries, `heartbeat` the most without a
        message, in seconds; 0: as the server says (none, 15 s). `delta` asks for changed fields
        only, for the price of holding all values; what a program sees is the same.

        `store` keeps the token for the program's next life, under `key`; empty: one that is made of
        the request. It is of use only to a program that keeps the state itself. `fail_fast` None: as
        the client's.

        Raises ValueError for an option that cannot be sent. What the server does not take ends the
        iteration with a WatchrouteError.
        """
        return self.watch_of(watch_request(parent, **options), type, store=store, key=key, fail_fast=fail_fast)

    @overload
    def mirror(self, parent: str = "", type: None = None, *,
               indexes: Mapping[str, Index[dict[str, Any]]] | None = None, names: Iterable[str] = (), filter: str = "",
               read_mask: Iterable[str] = (), min_revision: int = 0, delivery: str = "LATEST", min_interval: float = 0.0,
               heartbeat: float = 0.0, delta: bool = False, projection: str = "", fail_fast: bool | None = None
               ) -> Mirror[dict[str, Any]]: ...

    @overload
    def mirror(self, parent: str, type: type[M], *, indexes: Mapping[str, Index[M]] | None = None,
               names: Iterable[str] = (), filter: str = "", read_mask: Iterable[str] = (), min_revision: int = 0,
               delivery: str = "LATEST", min_interval: float = 0.0, heartbeat: float = 0.0, delta: bool = False,
               projection: str = "", fail_fast: bool | None = None) -> Mirror[M]: ...

    def mirror(self, parent: str = "", type: Any = None, *, indexes: Mapping[str, Index[Any]] | None = None,
               fail_fast: bool | None = None, **options: Any) -> Mirror[Any]:
        """Keeps a copy of a collection, or of a part of it. The options are those of `watch`.

        `indexes` gives for each index its function, from a resource to the keys under which
        `Mirror.index` finds it. It must be called in the event loop: the mirror begins by itself.
        """
        return self.mirror_of(watch_request(parent, **options), type, indexes=indexes, fail_fast=fail_fast)

    def mirror_of(self, request: watch_pb2.WatchRequest, type: Any = None, *,
                  indexes: Mapping[str, Index[Any]] | None = None, fail_fast: bool | None = None) -> Mirror[Any]:
        """As `mirror`, of a request of the contract."""
        codec = codec_of(type)
        watch: Watch[Any] = Watch(self._setting, request, codec, again=True, fail_fast=fail_fast)
        self._add(watch)
        return Mirror(watch, codec, indexes or {}, self._clock, self._setting.log)

    def watch_of(self, request: watch_pb2.WatchRequest, type: Any = None, *, store: Store | None = None,
                 key: str = "", fail_fast: bool | None = None) -> Watch[Any]:
        """As `watch`, of a request of the contract."""
        watch: Watch[Any] = Watch(self._setting, request, codec_of(type), store=store, key=key or scope_key(request),
                                  fail_fast=fail_fast)
        self._add(watch)
        return watch

    def _add(self, watch: Watch[Any]) -> None:
        if self._closed:
            raise client_closed()
        self._watches.add(watch)
        weakref.finalize(watch, self._ended.add, watch.counters).atexit = False

    @overload
    async def get(self, name: str, type: None = None, *, min_revision: int = 0, projection: str = "",
                  timeout: float | None = None) -> Resource[dict[str, Any]]: ...

    @overload
    async def get(self, name: str, type: type[M], *, min_revision: int = 0, projection: str = "",
                  timeout: float | None = None) -> Resource[M]: ...

    async def get(self, name: str, type: Any = None, *, min_revision: int = 0, projection: str = "",
                  timeout: float | None = None) -> Resource[Any]:
        """Gives one resource, such as `orders/42`. NOT_FOUND with RESOURCE_NOT_FOUND: there is none.

        Of every call: `timeout` is in seconds, None: the client's. Raises WatchrouteError.
        """
        request = service_pb2.GetRequest(name=name, min_revision=min_revision, projection=projection)
        raw = await self._calls.call("get", request, timeout)
        return resource_of(raw, codec_of(type).decode(raw.data))

    @overload
    async def list(self, parent: str, type: None = None, *, filter: str = "", page_size: int = 0, page_token: str = "",
                   min_revision: int = 0, projection: str = "", timeout: float | None = None
                   ) -> Page[dict[str, Any]]: ...

    @overload
    async def list(self, parent: str, type: type[M], *, filter: str = "", page_size: int = 0, page_token: str = "",
                   min_revision: int = 0, projection: str = "", timeout: float | None = None) -> Page[M]: ...

    async def list(self, parent: str, type: Any = None, *, filter: str = "", page_size: int = 0, page_token: str = "",
                   min_revision: int = 0, projection: str = "", timeout: float | None = None) -> Page[Any]:
        """Gives a page of a collection, in the order of names. `page_size` 0: 100; at most 1000.
        All pages are of the revision of the first."""
        raw = await self._calls.call("list", service_pb2.ListRequest(
            parent=parent, filter=filter, page_size=page_size, page_token=page_token, min_revision=min_revision,
            projection=projection), timeout)
        codec = codec_of(type)
        return Page([resource_of(r, codec.decode(r.data)) for r in raw.resources], raw.next_page_token, raw.revision,
                    raw.resume_token)

    @overload
    def list_all(self, parent: str, type: None = None, *, filter: str = "", page_size: int = 0, min_revision: int = 0,
                 projection: str = "", timeout: float | None = None) -> AsyncIterator[Resource[dict[str, Any]]]: ...

    @overload
    def list_all(self, parent: str, type: type[M], *, filter: str = "", page_size: int = 0, min_revision: int = 0,
                 projection: str = "", timeout: float | None = None) -> AsyncIterator[Resource[M]]: ...

    async def list_all(self, parent: str, type: Any = None, **options: Any) -> AsyncIterator[Resource[Any]]:
        """Gives all resources of a collection, in the order of names, at one revision:
        `async for resource in client.list_all("orders", Order)`.

        The options are those of `list`. A page is called for when the one before is used up; `timeout`
        is for each of them.
        """
        page = await self.list(parent, type, **options)
        while True:
            for resource in page.resources:
                yield resource
            if not page.next_page_token:
                return
            page = await self.list(parent, type, page_token=page.next_page_token, **options)

    async def put(self, name: str, data: Message | dict[str, Any], *, labels: Mapping[str, str] | None = None,
                  precondition: Precondition | None = None, request_id: str = "", timeout: float | None = None
                  ) -> Written:
        """Creates or replaces a resource.

        `precondition` is what must hold; FAILED_PRECONDITION otherwise. With a `request_id` (best a
        random UUID) the write applies once, and is made up to five times, within the timeout, where
        the error says that this helps.
        """
        operation = Put(name, data, labels or {}, precondition)
        request = service_pb2.PutRequest(resource=operation.resource(), precondition=precondition, request_id=request_id)
        return written_of(await self._calls.call("put", request, timeout, again=bool(request_id)))

    async def delete(self, name: str, *, precondition: Precondition | None = None, allow_missing: bool = False,
                     request_id: str = "", timeout: float | None = None) -> Written:
        """Removes a resource. NOT_FOUND where there is none, unless `allow_missing`. Otherwise as `put`."""
        request = service_pb2.DeleteRequest(name=name, precondition=precondition, allow_missing=allow_missing,
                                            request_id=request_id)
        return written_of(await self._calls.call("delete", request, timeout, again=bool(request_id)))

    async def write(self, parent: str, operations: Iterable[Put | Delete], *, request_id: str = "",
                    timeout: float | None = None) -> Batch:
        """Applies 1 to 1000 operations on one collection, no name twice: all of them, at one
        revision, or none. `request_id` as of `put`."""
        request = service_pb2.WriteRequest(parent=parent, operations=[o.operation() for o in operations],
                                           request_id=request_id)
        raw = await self._calls.call("write", request, timeout, again=bool(request_id))
        return Batch(raw.revision, [written_of(result) for result in raw.results])


def watch_request(parent: str, *, names: Iterable[str] = (), filter: str = "", read_mask: Iterable[str] = (),
                  start: str = "SNAPSHOT", resume_token: str = "", after_revision: int | None = None,
                  min_revision: int = 0, delivery: str = "LATEST", min_interval: float = 0.0, heartbeat: float = 0.0,
                  delta: bool = False, on_expired: str = "RESET", projection: str = "") -> watch_pb2.WatchRequest:
    """Gives the request of the contract."""
    if isinstance(names, str):
        raise ValueError("names: a list of names is wanted")
    if isinstance(read_mask, str):
        raise ValueError("read_mask: a list of paths is wanted")
    request = watch_pb2.WatchRequest(
        parent=parent, names=names, filter=filter, min_revision=min_revision, delta=delta, projection=projection,
        delivery=delivery, on_expired=on_expired)
    request.read_mask.paths.extend(read_mask)
    if not request.read_mask.paths:
        request.ClearField("read_mask")
    if min_interval:
        request.min_interval.FromNanoseconds(round(min_interval * 1e9))
    if heartbeat:
        request.heartbeat.FromNanoseconds(round(heartbeat * 1e9))
    if resume_token:
        request.resume_token = resume_token
    elif after_revision is not None:
        request.after_revision = after_revision
    elif start != "SNAPSHOT":
        setattr(request, "from", watch_pb2.Start.Value(start))
    return request


def scope_key(request: watch_pb2.WatchRequest) -> str:
    """What a token is bound to, in short."""
    scope = watch_pb2.WatchRequest(parent=request.parent, names=sorted(request.names), filter=request.filter,
                                   read_mask=request.read_mask, delivery=request.delivery, projection=request.projection)
    digest = hashlib.sha256(scope.SerializeToString(deterministic=True)).hexdigest()[:16]
    collection = request.parent or (request.names[0].partition("/")[0] if request.names else "")
    return f"{collection}-{digest}"
