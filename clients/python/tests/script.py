"""Streams that say what a test wrote down, and a client of them."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2

from virtual import AutoClock, ManualClock, leftover
from watchroute.backoff import Backoff
from watchroute.credential import Credentials, Provider
from watchroute.errors import WatchrouteError
from watchroute.event import Event
from watchroute.stream import Stream
from watchroute.v1 import resource_pb2, watch_pb2
from watchroute.value import JsonCodec, encode
from watchroute.watch import Setting, Watch

R = watch_pb2.WatchResponse

HANG = "HANG"
"""Instead of a message: nothing comes any more, until the stream is cancelled."""


def started(mode: str = "SNAPSHOT", *, silence: float = 30, revision: int = 0, token: str = "") -> R:
    m = R(revision=revision, resume_token=token)
    m.started.mode = watch_pb2.Started.Mode.Value(mode)
    m.started.silence_limit.FromNanoseconds(int(silence * 1e9))
    return m


def present(name: str, revision: int, data: dict[str, Any], cause: str = "UPDATED") -> watch_pb2.Event:
    return watch_pb2.Event(state=resource_pb2.PRESENT, cause=cause,
                           resource=resource_pb2.Resource(name=name, revision=revision, uid="u" + name, data=encode(data)))


def delta(name: str, revision: int, base: int, paths: list[str], data: dict[str, Any]) -> watch_pb2.Event:
    e = present(name, revision, data)
    e.updated_fields.paths.extend(paths)
    e.updated_fields.SetInParent()
    e.base_revision = base
    return e


def absent(name: str, revision: int, cause: str = "DELETED") -> watch_pb2.Event:
    return watch_pb2.Event(state=resource_pb2.ABSENT, cause=cause, resource=resource_pb2.Resource(name=name, revision=revision))


def events(*changes: watch_pb2.Event, token: str = "") -> R:
    return R(revision=max(c.resource.revision for c in changes), resume_token=token, events=watch_pb2.EventBatch(events=changes))


def snapshot_end(revision: int, token: str) -> R:
    return R(revision=revision, resume_token=token, snapshot_end=watch_pb2.SnapshotEnd())


def bookmark(revision: int, token: str) -> R:
    return R(revision=revision, resume_token=token, bookmark=watch_pb2.Bookmark())


def reset(reason: str, revision: int = 0) -> R:
    return R(revision=revision, reset=watch_pb2.Reset(reason=reason))


def drain(seconds: float, revision: int = 0) -> R:
    m = R(revision=revision)
    m.drain.reconnect_after.FromNanoseconds(int(seconds * 1e9))
    return m


def status(code: int, message: str, reason: str = "", retry: float | None = None, **metadata: str) -> status_pb2.Status:
    s = status_pb2.Status(code=code, message=message)
    if reason:
        s.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="watchroute.dev", metadata=metadata))
    if retry is not None:
        info = error_details_pb2.RetryInfo()
        info.retry_delay.FromNanoseconds(int(retry * 1e9))
        s.details.add().Pack(info)
    return s


def failure(code: grpc.StatusCode, reason: str = "", *, retry: float | None = None, message: str = "it failed") -> WatchrouteError:
    return WatchrouteError(code, message, reason=reason, retry_after=retry)


CUT = failure(grpc.StatusCode.UNAVAILABLE)


class ScriptedStream:
    bytes = 0

    def __init__(self, says: list[Any], credential: str | None) -> None:
        self.says = says
        self.credential = credential
        self.read_count = 0
        self.cancelled = False
        self._hung: asyncio.Future[None] | None = None
        self._cause: WatchrouteError | None = None

    async def read(self) -> R | None:
        self.read_count += 1
        if not self.says:
            return None
        while self.says[0] == HANG:
            self._hung = asyncio.get_running_loop().create_future()
            await self._hung
            if self._cause is not None:
                raise self._cause
        said = self.says.pop(0)
        if isinstance(said, WatchrouteError):
            raise said
        self.bytes += said.ByteSize()
        return said

    def go_on(self, *says: Any) -> None:
        """What hung says this, and hangs again."""
        self.says[:0] = says
        if self._hung is not None and not self._hung.done():
            self._hung.set_result(None)

    def wait(self) -> float | None:
        return None

    def cancel(self, cause: WatchrouteError | None = None, *, silent: bool = False) -> None:
        self.cancelled = True
        self._cause = self._cause or cause or failure(grpc.StatusCode.CANCELLED)
        if self._hung is not None and not self._hung.done():
            self._hung.set_result(None)


class Script:
    """A transport whose streams are scripts, one for each opening; behind the last one they hang."""

    def __init__(self, *streams: list[Any], token: Provider | str | None = None,
                 answer: Callable[[watch_pb2.WatchRequest], list[Any]] | None = None) -> None:
        self.scripts = [list(s) for s in streams]
        self.answer = answer
        self.requests: list[watch_pb2.WatchRequest] = []
        self.streams: list[ScriptedStream] = []
        self.credentials = Credentials(token)

    async def open(self, request: watch_pb2.WatchRequest) -> Stream:
        credential = await self.credentials.get()
        self.requests.append(request)
        if self.answer is not None:
            says = self.answer(request)
        else:
            says = self.scripts.pop(0) if self.scripts else [HANG]
        self.streams.append(ScriptedStream(says, credential))
        return self.streams[-1]


class Run:
    """A watch of a script, and what became of it."""

    def __init__(self, script: Script, request: watch_pb2.WatchRequest | None = None, *, clock: ManualClock | None = None,
                 codec: Any = None, seed: int = 1, again: bool = False, **options: Any) -> None:
        self.script = script
        self.states: list[str] = []
        self.causes: list[str] = []
        self.clock = clock or AutoClock()
        self.waits: list[float] = []
        setting = Setting(script, script.credentials, self.clock, lambda: Backoff(1, 30, random.Random(seed)),
                          options.pop("fail_fast", False), self._state, logging.getLogger("test"))
        self.setting = setting
        self.watch: Watch[Any] = Watch(setting, request or watch_pb2.WatchRequest(parent="notes"), codec or JsonCodec(),
                                       again=again, **options)

    def _state(self, watch: Any, state: Any, cause: str) -> None:
        self.states.append(state.value)
        self.causes.append(cause)

    async def take(self, count: int) -> list[str]:
        """The next events, as text."""
        return [text(await self.watch.__anext__()) for _ in range(count)]


def text(e: Event[Any]) -> str:
    if e.kind.value == "RESET":
        return f"RESET {e.reason}"
    if e.kind.value == "SYNCED":
        return f"SYNCED {e.revision}"
    data = "" if e.data is None else " " + json.dumps(e.data, sort_keys=True, separators=(",", ":"))
    return f"{e.kind} {e.name}@{e.revision}{data}"


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Runs a test in an event loop of its own, within 20 s, and fails where it leaves tasks behind."""

    async def whole() -> None:
        await asyncio.wait_for(test(), 20)
        assert await leftover() == set()

    asyncio.run(whole())


OK, UNAVAILABLE = code_pb2.OK, code_pb2.UNAVAILABLE
