"""What can be watched of a watch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum


class State(str, Enum):
    """Where a watch is. docs/clients.md draws the transitions."""

    NEW = "NEW"
    """Nobody has asked for the first event yet."""
    CONNECTING = "CONNECTING"
    """A stream is being opened without a token."""
    RESUMING = "RESUMING"
    """A stream is being opened with a token."""
    SNAPSHOT = "SNAPSHOT"
    """The first state is coming."""
    RESETTING = "RESETTING"
    """The state is coming anew."""
    LIVE = "LIVE"
    """Changes are coming."""
    DRAINING = "DRAINING"
    """The server goes away; the watch comes back at the time that it was told."""
    BACKING_OFF = "BACKING_OFF"
    """The stream ended or failed; the watch waits before it comes back."""
    CLOSED = "CLOSED"
    """For good."""

    def __str__(self) -> str:
        return self.value


@dataclass(slots=True)
class Counters:
    """What has happened to a watch since it began, or to all watches of a client."""

    messages: int = 0
    bytes: int = 0
    """Of messages, as they were received; 0 in a session, whose messages are shared."""
    events: int = 0
    """Told to the program: PRESENT and ABSENT."""
    duplicates: int = 0
    """Left out, since they had been told."""
    reconnects: int = 0
    """Streams that were opened after the first."""
    resets: int = 0
    store_failures: int = 0
    """Loads and saves of tokens that failed."""

    def add(self, other: Counters) -> None:
        """Adds what has happened to another watch."""
        for counter in fields(self):
            setattr(self, counter.name, getattr(self, counter.name) + getattr(other, counter.name))
