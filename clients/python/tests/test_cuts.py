"""Streams that are cut anywhere: nothing is lost, nothing told twice."""

from __future__ import annotations

import logging
import random

import grpc
import pytest

from model import Reader, Server
from script import CUT, HANG, Run, Script, failure, run
from watchroute.errors import WatchrouteError
from watchroute.mirror import Mirror
from watchroute.v1 import watch_pb2
from watchroute.value import JsonCodec

REQUESTS = {
    "latest": dict(delivery="LATEST"),
    "every change": dict(delivery="EVERY_CHANGE"),
    "latest, delta": dict(delivery="LATEST", delta=True),
    "every change, delta": dict(delivery="EVERY_CHANGE", delta=True),
}
kinds = pytest.mark.parametrize("kind", REQUESTS)

OVER = failure(grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")  # ends the watch at the end of a test


async def read(r: Run, reader: Reader) -> None:
    try:
        async for event in r.watch:
            reader.take(event)
    except WatchrouteError as e:
        assert e.reason == OVER.reason, e


@kinds
def test_a_cut_behind_every_message(kind):
    """One stream that is cut behind its message K, for each K; the next one goes on to the end."""
    async def test():
        messages = None
        k = 0
        while messages is None or k <= messages:
            server = Server(random.Random(7))
            for _ in range(30):
                server.change()

            def answer(request):
                nonlocal messages
                says = server.stream(request)
                if len(script.requests) > 1:
                    return [*says, OVER]
                messages = len(says)
                for _ in range(6):
                    server.change()  # while the connection is broken
                return [*says[:k], CUT]

            script = Script(answer=answer)
            reader = Reader()
            await read(Run(script, watch_pb2.WatchRequest(parent="notes", **REQUESTS[kind])), reader)
            assert reader.state == server.state(server.head), f"cut behind message {k}"
            if "every" in kind:
                reader.check_every_change(server)
            k += 1
        assert k > 5

    run(test)


@kinds
@pytest.mark.parametrize("round", range(40))
def test_any_cuts_compactions_and_other_lives(kind, round):
    seed = round * 1000003 + len(kind)
    print(f"seed {seed}")  # shown where it fails
    rng = random.Random(seed)

    async def test():
        server = Server(rng)
        for _ in range(rng.randint(0, 8)):
            server.change()
        streams = rng.randint(3, 12)

        def answer(request):
            for _ in range(rng.randint(0, 5)):
                server.change()
            if rng.random() < 0.1:
                server.epoch += 1
            if rng.random() < 0.15:
                server.compacted = server.head
            says = server.stream(request)
            if len(script.requests) > streams:
                return [*says, OVER]
            end = rng.choice([CUT, HANG, failure(grpc.StatusCode.INTERNAL, "INTERNAL")])
            return [*says[:rng.randint(0, len(says))], end]

        script = Script(answer=answer)
        reader = Reader()
        r = Run(script, watch_pb2.WatchRequest(parent="notes", **REQUESTS[kind]), seed=seed)
        await read(r, reader)
        assert reader.state == server.state(server.head)
        if "every" in kind:
            reader.check_every_change(server)
        assert r.watch.counters.reconnects == len(script.requests) - 1

    run(test)


@kinds
@pytest.mark.parametrize("round", range(20))
def test_a_mirror_shows_the_state_of_one_revision_at_any_time(kind, round):
    seed = round * 7919 + len(kind)
    print(f"seed {seed}")
    rng = random.Random(seed)

    async def test():
        server = Server(rng)
        for _ in range(5):
            server.change()
        streams = rng.randint(2, 8)

        def answer(request):
            for _ in range(rng.randint(0, 5)):
                server.change()
            if rng.random() < 0.2:
                server.compacted = server.head
            says = server.stream(request)
            if len(script.requests) > streams:
                return [*says, OVER]
            return [*says[:rng.randint(0, len(says))], rng.choice([CUT, HANG])]

        script = Script(answer=answer)
        r = Run(script, watch_pb2.WatchRequest(parent="notes", **REQUESTS[kind]), seed=seed, again=True)
        mirror = Mirror(r.watch, JsonCodec(), {"a": lambda x: [x.data["a"]] if "a" in x.data else []}, r.clock, logging.getLogger("test"))
        told = {}
        shown = 0

        def changed(change):
            nonlocal shown
            assert {x.name: (x.revision, x.data) for x in mirror.list()} == server.state(mirror.revision)
            assert mirror.revision >= shown
            shown = mirror.revision
            before = told.pop(change.name, None)
            assert before == (change.before and change.before.data)
            if change.after is not None:
                told[change.name] = change.after.data

        failed = []
        mirror.on_change(lambda change: _note(failed, changed, change))
        await mirror.closed()
        assert not failed, failed
        assert mirror.error.reason == OVER.reason
        state = server.state(server.head)
        assert {x.name: (x.revision, x.data) for x in mirror.list()} == state
        assert told == {name: value for name, (_, value) in state.items()}
        for key in range(server.head):
            assert [x.name for x in mirror.index("a", key)] == sorted(n for n, (_, v) in state.items() if v.get("a") == key)
        await mirror.close()

    run(test)


def _note(failed, function, change):
    try:
        function(change)
    except AssertionError as e:
        failed.append(e)
