"""Sessions: the watches of a client on one stream.

A watch that is silent comes back on another stream, and nobody new joins the one that it left. The
other watches stay on that as long as they hear something.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

import grpc
from google.protobuf.message import DecodeError

from .backoff import Backoff
from .clock import Clock, Timer
from .connection import Connection, Connections, SessionCall
from .errors import WatchrouteError, client_closed, from_rpc, from_status, not_watchroute, unknown_message
from .stream import Stream
from .v1 import watch_pb2

CREDIT = 256
"""How many events of one watch may be on their way to a program that does not ask for them."""


class Sessions:
    """Opens streams on the session that there is, or on a new one."""

    def __init__(self, connections: Connections, clock: Clock, backoff: Backoff, log: logging.Logger) -> None:
        self._connections, self._clock, self._backoff, self._log = connections, clock, backoff, log
        self._current: Session | None = None
        self._opening = asyncio.Lock()
        self._sessions: set[Session] = set()

    async def open(self, request: watch_pb2.WatchRequest) -> Stream:
        async with self._opening:
            session = self._current
            if session is None or not session.open_to_more:
                credential = await self._connections.credentials.get()
                session = Session(self._connections, credential, self._clock, self._backoff, self._log)
                self._current = session
                self._sessions = {s for s in self._sessions if not s.done} | {session}
        return session.open(request)

    async def close(self) -> None:
        """Ends all sessions, and waits for what they have started."""
        for session in self._sessions:
            session.end(client_closed())
            await session.wait()
        self._sessions.clear()


class Session:
    """One stream of `ResourceService.Session`. It ends with its last watch."""

    def __init__(self, connections: Connections, credential: str | None, clock: Clock, backoff: Backoff,
                 log: logging.Logger) -> None:
        self.credential = credential
        self.open_to_more = True
        """Whether further watches may be opened on it."""
        self.over = False
        self.ready_at: float | None = None
        """When its watches may come back, on the monotonic clock. None: it goes on."""
        self.heard_at = clock.monotonic()
        self.clock = clock
        self._connections, self._backoff, self._log = connections, backoff, log
        self._members: dict[str, SessionStream] = {}
        self._opened = 0
        self._renewing = False
        self._renewal: Timer | None = None
        self._outgoing: deque[watch_pb2.SessionRequest] = deque()
        self._wake = asyncio.Event()
        self._connection: Connection = connections.acquire()
        self._call: SessionCall = self._connection.session(metadata=connections.metadata(credential))
        loop = asyncio.get_running_loop()
        self._tasks = {loop.create_task(self._receive()), loop.create_task(self._write())}
        if credential is not None:  # the answer says when it expires
            self.send(watch_pb2.SessionRequest(authenticate=watch_pb2.Authenticate(credential=credential)))

    @property
    def done(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.over and all(task.done() for task in self._tasks)

    def open(self, request: watch_pb2.WatchRequest) -> SessionStream:
        self._opened += 1
        stream = SessionStream(self, str(self._opened))
        self._members[stream.id] = stream
        self.send(watch_pb2.SessionRequest(open=watch_pb2.OpenWatch(watch_id=stream.id, watch=request, credit=CREDIT)))
        return stream

    def send(self, request: watch_pb2.SessionRequest) -> None:
        """Sends a message behind those that wait. There are no more of them than watches and their credits."""
        self._outgoing.append(request)
        self._wake.set()

    def leave(self, stream: SessionStream) -> None:
        """A watch is over. The session ends with the last one."""
        if self.over or self._members.pop(stream.id, None) is None:
            return
        if self._members:
            self.send(watch_pb2.SessionRequest(cancel=watch_pb2.CancelWatch(watch_id=stream.id)))
        else:
            self.end(None)

    def end(self, error: WatchrouteError | None, *, silent: bool = False) -> None:
        """Ends the session, and each of its watches with the error; None: in order."""
        if self.over:
            return
        self.over, self.open_to_more = True, False
        if self._renewing and error is not None and error.code is grpc.StatusCode.PERMISSION_DENIED:
            # The fresh credential is somebody else's: that needs another connection, no more.
            error = WatchrouteError(grpc.StatusCode.UNAVAILABLE, error.message, reason=error.reason)
        members, self._members = self._members, {}
        if members and self.ready_at is None:
            wait = self._backoff.next()
            if error is not None and error.retry_after is not None:
                wait = max(wait, error.retry_after)
            self.ready_at = self.clock.monotonic() + wait
        if self._renewal is not None:
            self._renewal.cancel()
        if silent:
            self._connection.retire()
        self._call.cancel()
        self._connection.release()
        for task in self._tasks:
            task.cancel()
        for stream in members.values():
            stream.ended(error)

    async def wait(self) -> None:
        """Waits for what the session has started."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _write(self) -> None:
        while True:
            while self._outgoing:
                try:
                    await self._call.write(self._outgoing.popleft())
                except (grpc.RpcError, asyncio.InvalidStateError):
                    return  # whoever receives is told why
            self._wake.clear()
            await self._wake.wait()

    async def _receive(self) -> None:
        error: WatchrouteError | None
        try:
            while True:
                message = await self._call.read()
                if not isinstance(message, bytes):
                    error = None
                    break
                self.heard_at = self.clock.monotonic()
                response = watch_pb2.SessionResponse.FromString(message)
                self._take(response)
                for more in response.more:
                    self._take(more)
        except grpc.aio.AioRpcError as e:
            error = from_rpc(e)
        except DecodeError as e:
            error = not_watchroute(f"a message cannot be decoded: {e}")
        except WatchrouteError as e:
            error = e
        self.end(error)

    def _take(self, response: watch_pb2.SessionResponse) -> None:
        if self.over:
            return
        body = response.WhichOneof("body")
        if body == "watch":
            message = response.watch
            said = message.WhichOneof("body")
            if said != "started":
                self._backoff.reset()
            if said == "drain" and self.ready_at is None:
                after = message.drain.reconnect_after
                self.open_to_more = False
                self.ready_at = self.clock.monotonic() + after.seconds + after.nanos / 1e9
            for id in (response.watch_id, *response.also_watch_ids):
                stream = self._members.get(id)
                if stream is not None:
                    stream.push(message, said == "bookmark")
        elif body == "closed":
            stream = self._members.pop(response.watch_id, None)
            if stream is None:
                return
            error = from_status(response.closed)
            if error.metadata.get("limit") == "session_watches" or error.code is grpc.StatusCode.UNAUTHENTICATED:
                self.open_to_more = False  # it is full, or its credential is void: the next one is on another
            stream.ended(error if response.closed.code else None)
            if not self._members:
                self.end(None)
        elif body == "authenticated":
            self._renewing = False
            if response.authenticated.HasField("expire_time"):
                at = response.authenticated.expire_time
                self._renew_before(at.seconds + at.nanos / 1e9)
        elif body != "fence":
            raise unknown_message("there is a response")

    def _renew_before(self, expires: float) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
        left = expires - self.clock.time()
        if left > 1:  # otherwise the stream ends with the credential, and its watches come back
            wait = left / 2 if left < 10 else min(0.9 * left, left - 5)
            self._renewal = self.clock.call_later(max(wait, 1.0), lambda: self._renew(expires))

    def _renew(self, expires: float) -> None:
        if self.over:
            return
        task = asyncio.get_running_loop().create_task(self._authenticate(expires))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _authenticate(self, expires: float) -> None:
        fresh = None
        try:
            fresh = await self._connections.credentials.get()
        except Exception as e:
            self._log.warning("no fresh credential was given: %r", e)
        if self.over:
            return
        if fresh is not None and fresh != self.credential:
            self.credential, self._renewing = fresh, True
            self.send(watch_pb2.SessionRequest(authenticate=watch_pb2.Authenticate(credential=fresh)))
        else:
            self._renew_before(expires)


class SessionStream:
    """A stream that is a watch of a session."""

    bytes = 0

    def __init__(self, session: Session, id: str) -> None:
        self.id = id
        self._session = session
        self._messages: deque[tuple[watch_pb2.WatchResponse, bool]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._asked_at = 0.0
        self._over = False
        self._error: WatchrouteError | None = None
        self._reading = 0  # events of the message that the program has
        self._used = 0  # events that were read, since credit was given

    @property
    def credential(self) -> str | None:
        return self._session.credential

    async def read(self) -> watch_pb2.WatchResponse | None:
        self._give_credit()
        if not self._messages and not self._over:
            self._asked_at = self._session.clock.monotonic()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._messages:
            message, _ = self._messages.popleft()
            self._reading = len(message.events.events)
            return message
        if self._error is not None:
            raise self._error
        return None

    def _give_credit(self) -> None:
        self._used += self._reading
        self._reading = 0
        if self._used >= CREDIT // 2 and not self._over:
            self._session.send(watch_pb2.SessionRequest(credit=watch_pb2.Credit(watch_id=self.id, events=self._used)))
            self._used = 0

    def push(self, message: watch_pb2.WatchResponse, bookmark: bool) -> None:
        """The session has a message for the watch."""
        if bookmark and self._messages and self._messages[-1][1]:
            self._messages.pop()  # bookmarks need no credit: the last one says it all
        self._messages.append((message, bookmark))
        self._notify()

    def ended(self, error: WatchrouteError | None) -> None:
        """No more messages come."""
        if not self._over:
            self._over, self._error = True, error
            self._notify()

    def _notify(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def wait(self) -> float | None:
        ready_at = self._session.ready_at
        return None if ready_at is None else max(0.0, ready_at - self._session.clock.monotonic())

    def cancel(self, cause: WatchrouteError | None = None, *, silent: bool = False) -> None:
        if silent:
            self._session.open_to_more = False
            if self._session.heard_at <= self._asked_at:  # the others have heard nothing either
                self._session.end(cause, silent=True)
                return
        self._session.leave(self)
        self.ended(cause or WatchrouteError(grpc.StatusCode.CANCELLED, "cancelled"))
