"""A server as small as can be: a log of changes, and the streams that a contract-abiding server would
make of it."""

from __future__ import annotations

import copy
import random
from typing import Any

from script import absent, bookmark, delta, events, present, reset, snapshot_end, started
from watchroute.v1 import watch_pb2

State = dict[str, tuple[int, dict[str, Any]]]


class Server:
    """Serves one collection from its log. Batches share a revision."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.batches: list[list[tuple[str, dict[str, Any] | None]]] = []
        self.epoch = 0
        self.compacted = 0

    @property
    def head(self) -> int:
        return len(self.batches)

    def change(self) -> None:
        """Writes a batch."""
        state = self.state(self.head)
        batch: list[tuple[str, dict[str, Any] | None]] = []
        for name in self.rng.sample([f"notes/{i}" for i in range(5)], self.rng.randint(1, 3)):
            if name in state and self.rng.random() < 0.25:
                batch.append((name, None))
                continue
            value = copy.deepcopy(state[name][1]) if name in state else {"name": name}
            key = self.rng.choice(["a", "b", "c"])
            if key in value and self.rng.random() < 0.3:
                del value[key]
            elif key == "c":
                value.setdefault("c", {})[self.rng.choice("xy")] = self.head
            else:
                value[key] = self.head
            batch.append((name, value))
        self.batches.append(batch)

    def state(self, revision: int) -> State:
        state: State = {}
        for at, batch in enumerate(self.batches[:revision], 1):
            for name, value in batch:
                if value is None:
                    state.pop(name, None)
                else:
                    state[name] = (at, value)
        return state

    def stream(self, request: watch_pb2.WatchRequest) -> list[Any]:
        """All that a watch is told up to the head, as messages."""
        every = request.delivery == watch_pb2.EVERY_CHANGE
        position = None
        says: list[Any] = []
        if request.resume_token:
            epoch, position = (int(x) for x in request.resume_token[1:].split("."))
            if epoch != self.epoch or position < self.compacted:
                says = [started(), reset("EPOCH" if epoch != self.epoch else "COMPACTED")]
                position = None
            else:
                says = [started("RESUMED", revision=position, token=request.resume_token)]
        if position is None:
            says = says or [started()]
            position = self.rng.randint(max(self.compacted, self.head - 10, 0), self.head)
            whole = [present(name, at, value, "ENTERED") for name, (at, value) in self.state(position).items()]
            says += [events(*part) for part in self._parts(whole)]
            says.append(snapshot_end(position, self.token(position)))
        while position < self.head:
            to = self.rng.randint(position + 1, self.head)
            changes = self._every(position, to, request.delta) if every else self._latest(position, to, request.delta)
            parts = self._parts(changes)
            for i, part in enumerate(parts):
                says.append(events(*part, token=self.token(to) if i == len(parts) - 1 else ""))
                says[-1].revision = to if i == len(parts) - 1 else part[-1].resource.revision
            if not parts or self.rng.random() < 0.2:
                says.append(bookmark(to, self.token(to)))
            position = to
        return says

    def token(self, revision: int) -> str:
        return f"t{self.epoch}.{revision}"

    def _every(self, since: int, to: int, deltas: bool) -> list[watch_pb2.Event]:
        out = []
        for at in range(since + 1, to + 1):
            before = self.state(at - 1)
            out += [self._event(name, at, before.get(name), value, deltas) for name, value in self.batches[at - 1]]
        return out

    def _latest(self, since: int, to: int, deltas: bool) -> list[watch_pb2.Event]:
        before = self.state(since)
        last: dict[str, tuple[int, dict[str, Any] | None]] = {}
        for at in range(since + 1, to + 1):
            for name, value in self.batches[at - 1]:
                last.pop(name, None)
                last[name] = (at, value)
        return [self._event(name, at, before.get(name), value, deltas) for name, (at, value) in last.items()]

    @staticmethod
    def _event(name: str, at: int, before: tuple[int, dict[str, Any]] | None, value: dict[str, Any] | None,
               deltas: bool) -> watch_pb2.Event:
        if value is None:
            return absent(name, at)
        if before is None or not deltas:
            return present(name, at, value, "UPDATED" if before else "CREATED")
        paths: list[str] = []
        part: dict[str, Any] = {}
        for key in sorted(before[1].keys() | value.keys()):
            was, now = before[1].get(key), value.get(key)
            if was == now:
                continue
            if isinstance(was, dict) and isinstance(now, dict):
                for inner in sorted(was.keys() | now.keys()):
                    if was.get(inner) != now.get(inner):
                        paths.append(f"{key}.{inner}")
                        if inner in now:
                            part.setdefault(key, {})[inner] = now[inner]
            else:
                paths.append(key)
                if now is not None:
                    part[key] = now
        return delta(name, at, before[0], paths, part)

    def _parts(self, changes: list[watch_pb2.Event]) -> list[list[watch_pb2.Event]]:
        parts = []
        while changes:
            n = self.rng.randint(1, 3)
            parts.append(changes[:n])
            changes = changes[n:]
        return parts


class Reader:
    """What a program holds that does with each event what docs/clients.md says, and what it was told."""

    def __init__(self) -> None:
        self.state: State = {}
        self.changes: list[tuple[str, int, dict[str, Any] | None]] = []  # since SYNCED
        self.synced: int | None = None
        self.last: dict[str, int] = {}
        self.resets: list[str] = []

    def take(self, e: Any) -> None:
        if e.kind == "RESET":
            self.__init__(), self.resets.append(e.reason)  # type: ignore[misc]
            return
        if e.kind == "SYNCED":
            assert self.synced is None, "SYNCED twice"
            self.synced, self.changes, self.last = e.revision, [], {}
            return
        if self.synced is not None:
            assert self.last.get(e.name, -1) < e.revision, f"{e.name}@{e.revision} was told before"
        self.last[e.name] = e.revision
        self.changes.append((e.name, e.revision, copy.deepcopy(e.data)))
        if e.kind == "PRESENT":
            self.state[e.name] = (e.revision, e.data)
        else:
            self.state.pop(e.name, None)

    def check_every_change(self, server: Server) -> None:
        """Each change since the state was told exactly once, in order."""
        want = [(name, at, value) for at, batch in enumerate(server.batches, 1) for name, value in batch
                if self.synced is not None and at > self.synced]
        assert self.changes == want
