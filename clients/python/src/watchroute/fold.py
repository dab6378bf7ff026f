"""The state machine of a watch: what each message of its streams means.

It does no input or output and knows no time. Whoever runs it opens streams with `request`, passes
every message to `receive`, and says `finish` when the program is done with what a step told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import grpc

from .errors import WatchrouteError, from_status, not_watchroute, unknown_message
from .event import Event, Kind, Resource, resource_of
from .memory import Held, Told
from .state import Counters, State
from .value import Codec
from .v1 import resource_pb2, watch_pb2

T = TypeVar("T")

INTERRUPTED = "INTERRUPTED"

_CAUSES = {number: name for name, number in resource_pb2.Cause.items()}
_REASONS = {number: name for name, number in watch_pb2.Reset.Reason.items()}


@dataclass(slots=True)
class Step(Generic[T]):
    """What one message means to a program."""

    events: list[Event[T]] = field(default_factory=list)
    token: str = ""
    """Resumes behind this step. Empty: the watch cannot be cut here."""
    revision: int = 0
    began: bool = False
    """A stream has begun: what came behind the last token comes again, or is void."""


class Drained(Exception):
    """The server goes away."""

    def __init__(self, reconnect_after: float) -> None:
        super().__init__("the server goes away")
        self.reconnect_after = reconnect_after


class Gap(Exception):
    """A delta does not belong to what is held: something is lost."""


class Ended(Exception):
    """The watch was cancelled."""


class Fold(Generic[T]):
    """One watch, through all of its streams."""

    def __init__(self, request: watch_pb2.WatchRequest, codec: Codec[T], enter: Callable[[State, str], None],
                 counters: Counters, *, again: bool = False) -> None:
        """`enter` is told each state and its cause. `again`: what comes again behind a cut is a
        step's event again, for who drops what came behind the last token (`Step.began`)."""
        self._request = watch_pb2.WatchRequest()
        self._request.CopyFrom(request)
        self._codec, self._enter, self._counters = codec, enter, counters
        self._told = None if again else Told()
        self._held: Held[T] | None = Held() if request.delta else None
        self._whole = False  # held has all that the program was told
        self._start = request.WhichOneof("start")
        self.token = request.resume_token
        # The program holds a state, by which a state that comes anew must say so.
        self._holds = self._start in ("resume_token", "after_revision")
        self._ever = bool(self.token)  # something was told, be it to an earlier life of the program

        self.silence_limit = 0.0
        """Of the open stream, in seconds; 0: not known yet."""
        self.reached = False
        """Whether any stream ever began."""
        self.progressed = False
        """Whether the open stream has said more than that it began."""
        self.live = False
        self._begun = False
        self._snapshot = False  # its end has not come
        self._reset_due = False  # unless `reset` is the next message
        self._positioned = False  # the open stream was asked to resume

    def restore(self, token: str) -> None:
        """Begins with a token of a store."""
        self.token, self._holds, self._ever = token, True, True

    def request(self) -> watch_pb2.WatchRequest:
        """Gives the request of the next stream, which is about to be opened."""
        request = watch_pb2.WatchRequest()
        request.CopyFrom(self._request)
        if self.token:
            request.resume_token = self.token
        elif self._start is None:
            request.ClearField("start")
        from_state = not self.token and request.WhichOneof("start") in (None, "from") \
            and getattr(request, "from") != watch_pb2.NOW
        if request.delta and not (self._whole and self.token or from_state):
            request.delta = False  # there are no values to change
        self._begun = self._snapshot = self._reset_due = self.progressed = self.live = False
        self._positioned = request.WhichOneof("start") in ("resume_token", "after_revision")
        self.silence_limit = 0.0
        self._enter(State.RESUMING if self.token else State.CONNECTING, "")
        return request

    def give_up_deltas(self) -> None:
        """A gap was found: the state must come anew, and from then on without deltas."""
        self._request.delta = False
        self._held, self._whole = None, False
        self.token, self._start = "", None
        self._holds = True

    def receive(self, m: watch_pb2.WatchResponse) -> Step[T] | None:
        """Takes the next message of the open stream. None: it tells nothing, and has no token.

        Raises Drained, Gap, or the WatchrouteError that ends the stream.
        """
        self._counters.messages += 1
        body = m.WhichOneof("body")
        if not self._begun:
            if body == "closed":
                raise from_status(m.closed)
            if body is None:
                raise unknown_message("there is a response")
            if body != "started":
                raise not_watchroute("the first message is not `started`")
            return self._started(m)
        self.progressed = True
        if body == "events":
            step = self._events(m)
        elif body == "bookmark":
            step = Step(token=m.resume_token, revision=m.revision)
        elif body == "snapshot_end":
            step = self._snapshot_end(m)
        elif body == "reset":
            return self._reset(_REASONS.get(m.reset.reason, str(m.reset.reason)), m.revision)
        elif body == "drain":
            after = m.drain.reconnect_after
            raise Drained(after.seconds + after.nanos / 1e9)
        elif body == "closed":
            raise from_status(m.closed)
        elif body is None:
            raise unknown_message("there is a response")
        else:
            raise WatchrouteError(grpc.StatusCode.INTERNAL, f"`{body}` cannot come here")
        if self._reset_due:
            step.events[:0] = self._void(INTERRUPTED, m.revision)
        return step if step.events or step.token else None

    def finish(self, step: Step[T]) -> bool:
        """The program is done with a step. Says whether the token has changed."""
        if not step.token:
            return False
        changed = step.token != self.token
        self.token = step.token
        if self._told is not None:
            self._told.passed(step.revision)
        if self._held is not None:
            self._held.keep()
        return changed

    def _started(self, m: watch_pb2.WatchResponse) -> Step[T]:
        limit = m.started.silence_limit
        self.silence_limit = limit.seconds + limit.nanos / 1e9
        step: Step[T] = Step(token=m.resume_token, revision=m.revision, began=True)
        mode = m.started.mode
        if mode == watch_pb2.Started.SNAPSHOT:
            self.token, self._start = "", None
            self._snapshot = True
            if self._positioned:
                self._reset_due = self._holds
            elif self._holds:
                step.events = self._void(INTERRUPTED, m.revision)
            self._clear()
            self._enter(State.RESETTING if self._ever else State.SNAPSHOT, "")
        elif mode == watch_pb2.Started.RESUMED or mode == watch_pb2.Started.NOW:
            if self._held is not None:
                self._held.rewind()
            self.live = True
            self._enter(State.LIVE, "")
        else:
            raise unknown_message("the watch begins in a way")
        self._begun = self.reached = True
        return step

    def _reset(self, reason: str, revision: int) -> Step[T]:
        self.token, self._start = "", None
        self._snapshot, self.live = True, False
        step = Step(events=self._void(reason, revision), revision=revision)
        self._enter(State.RESETTING, reason)
        return step

    def _void(self, reason: str, revision: int) -> list[Event[T]]:
        self._reset_due = False
        self._holds, self._ever = False, True
        self._clear()
        self._counters.resets += 1
        return [Event(Kind.RESET, revision, reason=reason)]

    def _clear(self) -> None:
        if self._told is not None:
            self._told.clear()
        if self._held is not None:
            self._held.clear()
            self._whole = True

    def _snapshot_end(self, m: watch_pb2.WatchResponse) -> Step[T]:
        self._snapshot, self.live, self._holds, self._ever = False, True, True, True
        self._enter(State.LIVE, "")
        return Step([Event(Kind.SYNCED, m.revision)], m.resume_token, m.revision)

    def _events(self, m: watch_pb2.WatchResponse) -> Step[T]:
        events: list[Event[T]] = []
        told = None if self._snapshot else self._told
        held = self._held
        counters = self._counters
        for e in m.events.events:
            raw = e.resource
            name, revision = raw.name, raw.revision
            resource: Resource[T] | None = None
            if e.state == resource_pb2.PRESENT:
                kind = Kind.PRESENT
                if e.HasField("updated_fields"):
                    resource = self._changed(e)
                    new = told is None or told.is_new(name, revision)
                else:
                    new = told is None or told.is_new(name, revision)
                    if new or held is not None:
                        resource = resource_of(raw, self._codec.decode(raw.data))
            elif e.state == resource_pb2.ABSENT:
                kind = Kind.ABSENT
                new = told is None or told.is_new(name, revision)
            else:
                raise unknown_message("a resource has a state")
            if held is not None:
                held.set(name, resource)
                if resource is not None and new:  # a program may do what it likes with what it gets
                    resource = resource_of(raw, self._codec.copy(resource.data))
            if not new:
                counters.duplicates += 1
                continue
            events.append(Event(kind, revision, name, resource, _CAUSES.get(e.cause, ""), e.coalesced))
        counters.events += len(events)
        if events:
            self._holds = self._ever = True
        return Step(events, m.resume_token, m.revision)

    def _changed(self, e: watch_pb2.Event) -> Resource[T]:
        before = self._held.get(e.resource.name) if self._held is not None else None
        # The base is not compared: the name may have changed unseen, in what a mask or a rule hides.
        if before is None:
            raise Gap(f"a change from revision {e.base_revision} of what is not held")
        return resource_of(e.resource, self._codec.merged(before.data, e.resource.data, e.updated_fields.paths))
