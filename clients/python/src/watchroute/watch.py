"""A watch: events in order, through connections that break and come back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, TypeVar

import grpc

from .backoff import Backoff
from .batches import Batches
from .clock import Clock, Silence, sleep
from .credential import Credentials
from .errors import NOT_WATCHROUTE, WatchrouteError, not_watchroute
from .event import Event
from .fold import Drained, Ended, Fold, Gap, Step
from .state import Counters, State
from .store import Keeper, Store
from .stream import Stream, Transport
from .value import Codec
from .v1 import watch_pb2

T = TypeVar("T")

OnState = Callable[["Watch[Any]", State, str], None]

_SILENCE_LIMIT = 30.0  # until the server says another one


@dataclass
class Setting:
    """What all watches of a client have in common."""

    transport: Transport
    credentials: Credentials
    clock: Clock
    backoff: Callable[[], Backoff]
    fail_fast: bool = False
    on_state: OnState | None = None
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("watchroute"))


class Watch(Generic[T]):
    """Gives events, until it is cancelled or fails for good with a WatchrouteError.

    Iterate it from one task: `async for event in watch`. Nothing is read, and nothing opened, but
    when the next event is asked for. A call for the next event may itself be cancelled, say by
    `asyncio.wait_for`: no event is lost by it.

    A token counts, and is saved, once the program asks for the event after those that it stands
    behind. A program that stops before the end says `await watch.close()`, or writes
    `async with client.watch(...) as watch`.
    """

    def __init__(self, setting: Setting, request: watch_pb2.WatchRequest, codec: Codec[T], *,
                 store: Store | None = None, key: str = "", again: bool = False, fail_fast: bool | None = None) -> None:
        self.state = State.NEW
        self.counters = Counters()
        self.error: Exception | None = None
        """Why it ended: a WatchrouteError, or an exception that nobody expected. None: it has not, or
        was cancelled."""
        self.request = request
        self._setting = setting
        self._fail_fast = setting.fail_fast if fail_fast is None else fail_fast
        # Weakly: a watch that nobody holds any more ends at once.
        self._fold: Fold[T] = Fold(request, codec, _weakly(self._enter), self.counters, again=again)
        self._keeper = Keeper(store, key, setting.clock, _weakly(self._store_failed)) if store is not None else None
        self._loaded = store is None
        self._backoff = setting.backoff()
        self._silence = Silence(setting.clock, _weakly(self._silent))
        self._stream: Stream | None = None
        self._streams = 0
        self._renewed = False  # it came back at once with another credential, and nothing came since
        self._step: Step[T] | None = None
        self._told = 0  # of the step's events
        self._advancing: asyncio.Task[Step[T]] | None = None
        self._cancelled = False
        self._batched = False  # the program says by `keep` when it is done with what it was told

    @property
    def revision(self) -> int:
        """Where the watch stands: that of the last message that the program began with."""
        return self._step.revision if self._step is not None else 0

    @property
    def token(self) -> str:
        """The last token behind which the program is done. Empty: there is none."""
        return self._fold.token

    def __aiter__(self) -> Watch[T]:
        return self

    async def __anext__(self) -> Event[T]:
        step = self._step
        while step is None or self._told >= len(step.events):
            try:
                step = await self.advance()
            except Ended:
                raise StopAsyncIteration from None
        event = step.events[self._told]
        self._told += 1
        return event

    async def __aenter__(self) -> Watch[T]:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self.close()

    def __del__(self) -> None:
        if self._stream is not None:
            with contextlib.suppress(RuntimeError):  # the event loop is closed
                self._stream.cancel()

    def batches(self, every: float) -> Batches[T]:
        """Gives the events in lists instead, at most one each `every` seconds:
        `async for batch in watch.batches(0.5)`.

        The first event after a quiet time is given at once, with what came in the same message.
        Otherwise it goes on reading until `every` since the last batch is over. SYNCED ends a batch at
        once. The watch ends when the loop is left. Raises ValueError where `every` is negative.
        """
        if not every >= 0:
            raise ValueError(f"every: at least 0 seconds are wanted, not {every}")
        self._batched = True
        return Batches(self, every, self._setting.clock)

    def rest(self) -> list[Event[T]]:
        """Tells what is not told yet of the last message."""
        told, self._told = self._told, len(self._step.events) if self._step is not None else 0
        return self._step.events[told:] if self._step is not None else []

    def keep(self) -> None:
        """The program is done with all that it was told: the store may know."""
        if self._cancelled:
            return
        self._finish()
        if self._keeper is not None and self._loaded:
            self._keeper.keep(self._fold.token)

    def drop(self) -> None:
        """Ends the watch, even where the event loop has ended."""
        with contextlib.suppress(RuntimeError):  # the event loop is closed
            self.cancel()

    def cancel(self) -> None:
        """Ends the watch. Whoever waits for its next event gets the end of the iteration."""
        if self._cancelled or self.state is State.CLOSED:
            return
        self._cancelled = True
        if self._advancing is not None:
            self._advancing.cancel()
        self._end(None)

    async def close(self) -> None:
        """Ends the watch, saves its last token, and waits for what it has started."""
        self.cancel()
        task, self._advancing = self._advancing, None
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)
        if self._keeper is not None and self._loaded:
            await self._keeper.close()

    async def advance(self) -> Step[T]:
        """The program is done with the last step: gives the next one.

        Raises Ended where the watch was cancelled, and otherwise the error that it ended with.
        """
        task = self.begin()
        try:
            # Who waits may go away: the task stays, for who asks next.
            step = await asyncio.shield(task)
        except asyncio.CancelledError:
            if self._cancelled:
                raise Ended from None
            raise
        except Exception:
            self._advancing = None
            if self._keeper is not None:
                await self._keeper.close()
            raise
        self._advancing = None
        self._step, self._told = step, 0
        return step

    def begin(self) -> asyncio.Task[Step[T]]:
        """The program is done with the last step: begins to read the next one, for `advance`."""
        if self._advancing is None:
            if self._cancelled:
                raise Ended
            if self.error is not None:
                raise self.error
            self._finish()
            self._advancing = asyncio.get_running_loop().create_task(self._next())
        return self._advancing

    def _finish(self) -> None:
        step = self._step
        if step is None:
            return
        if self._fold.finish(step) and self._keeper is not None and not self._batched:
            self._keeper.keep(self._fold.token)
        step.events = []
        step.token = ""
        self._told = 0

    async def _next(self) -> Step[T]:
        try:
            return await self._run()
        except Exception as e:
            self.error = e
            self._end(e)
            raise

    async def _run(self) -> Step[T]:
        if not self._loaded and self._keeper is not None:
            token = await self._keeper.load()
            self._loaded = True
            if token:
                self._fold.restore(token)
        while True:
            try:
                if self._stream is None:
                    await self._open()
                step = await self._read()
            except _Ends as e:
                await self._come_back(e.cause)
                continue
            if step is not None:
                return step

    async def _open(self) -> None:
        request = self._fold.request()
        if self._streams:
            self.counters.reconnects += 1
        self._streams += 1
        try:
            self._stream = await self._setting.transport.open(request)
        except WatchrouteError as e:
            raise _Ends(e) from e
        except Exception as e:
            raise _Ends(WatchrouteError(grpc.StatusCode.UNAVAILABLE, f"no credential was given: {e!r}")) from e

    async def _read(self) -> Step[T] | None:
        stream, fold = self._stream, self._fold
        assert stream is not None
        before = stream.bytes
        self._silence.start(fold.silence_limit or _SILENCE_LIMIT)
        try:
            message = await stream.read()
        except WatchrouteError as e:
            raise _Ends(e) from e
        finally:
            self._silence.stop()
        if message is None:
            raise _Ends(None)
        self.counters.bytes += stream.bytes - before
        held = fold.token
        try:
            step = fold.receive(message)
        except (WatchrouteError, Drained, Gap) as e:
            raise _Ends(e) from e
        self._renewed = False
        if fold.progressed:
            self._backoff.reset()
        if held and not fold.token and self._keeper is not None:
            # Void, before the program hears of it: it must not be found by its next life.
            await self._keeper.keep_now("")
        return step

    async def _come_back(self, cause: WatchrouteError | Drained | Gap | None) -> None:
        """A stream has ended: waits for the time to open another one, or raises the final error."""
        stream, self._stream = self._stream, None
        self._silence.close()
        if stream is not None:
            stream.cancel()
        credential = stream.credential if stream is not None else None
        wait, state = 0.0, State.BACKING_OFF
        shared = stream.wait() if stream is not None else None
        if isinstance(cause, Drained):
            wait, state = cause.reconnect_after if shared is None else shared, State.DRAINING
        elif isinstance(cause, Gap):
            self._fold.give_up_deltas()
        elif cause is None or not await self._at_once(cause, credential):
            wait = self._backoff.next() if shared is None else shared
            if cause is not None and cause.retry_after is not None:
                wait = max(wait, cause.retry_after)
        self._enter(state, str(cause) if cause is not None else "the stream ended")
        await sleep(self._setting.clock, wait)

    async def _at_once(self, error: WatchrouteError, credential: str | None) -> bool:
        """Judges an error: whether to come back without waiting. Raises it where it is final."""
        credentials = self._setting.credentials
        if error.code is grpc.StatusCode.UNAUTHENTICATED:
            credentials.refuse()
            if error.reason != "CREDENTIAL_EXPIRED":
                if not error.final:
                    return False
                if not await self._replaced(credential):
                    raise error
            again, self._renewed = self._renewed, True
            return not again
        if self._fold.reached:
            # A proxy may answer for a server that is away.
            if error.reason == NOT_WATCHROUTE or error.code is grpc.StatusCode.UNIMPLEMENTED and not error.reason:
                return False
        elif not error.reason and (error.code is grpc.StatusCode.UNIMPLEMENTED or _is_a_page(error)):
            raise not_watchroute(error.message) from error
        elif self._fail_fast and error.code is grpc.StatusCode.UNAVAILABLE and not error.reason:
            raise error
        if error.final:
            raise error
        return False

    async def _replaced(self, credential: str | None) -> bool:
        try:
            return await self._setting.credentials.replaced(credential)
        except Exception as e:
            self._setting.log.warning("no credential was given in place of the one that was refused: %r", e)
            return False

    def _silent(self) -> None:
        if self._stream is not None:
            error = WatchrouteError(grpc.StatusCode.UNAVAILABLE, "the connection is silent")
            self._stream.cancel(error, silent=True)

    def _end(self, error: Exception | None) -> None:
        self._silence.close()
        if self._stream is not None:
            self._stream.cancel()
            self._stream = None
        if self.state is not State.CLOSED:
            self._enter(State.CLOSED, _text(error) if error is not None else "cancelled")

    def _enter(self, state: State, cause: str) -> None:
        if state is self.state or self.state is State.CLOSED:
            return
        self.state = state
        log = self._setting.log
        if log.isEnabledFor(logging.DEBUG):
            watch = self.request.parent or ",".join(self.request.names[:3])
            log.debug("watch %s: %s%s", watch, state.value, f": {cause}" if cause else "",
                      extra={"watch": watch, "watch_state": state.value, "cause": cause})
        if self._setting.on_state is not None:
            try:
                self._setting.on_state(self, state, cause)
            except Exception:
                log.exception("on_state failed")

    def _store_failed(self, what: str, error: Exception) -> None:
        self.counters.store_failures += 1
        self._setting.log.warning("the store of tokens failed to %s: %r", what, error)


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, WatchrouteError) else repr(error)


def _is_a_page(error: WatchrouteError) -> bool:
    # A body that ends without a status, as those of web pages do; gRPC's library has no code for it.
    return error.code in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL) and "END_STREAM" in error.message


def _weakly(method: Callable[..., None]) -> Callable[..., None]:
    weak = weakref.WeakMethod(method)

    def call(*args: Any) -> None:
        alive = weak()
        if alive is not None:
            alive(*args)

    return call


class _Ends(Exception):
    """A stream ends."""

    def __init__(self, cause: WatchrouteError | Drained | Gap | None) -> None:
        super().__init__()
        self.cause = cause
