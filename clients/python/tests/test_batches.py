"""Batches: debounced, and the latest of each name only."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref

import grpc
import pytest

from model import Reader, Server
from script import CUT, HANG, Run, Script, absent, bookmark, events, failure, present, reset, run, snapshot_end, started, text
from test_cuts import OVER, kinds, REQUESTS
from test_store import Memory
from test_watch import STATE, in_loop
from virtual import ManualClock, settle
from watchroute.errors import WatchrouteError
from watchroute.v1 import watch_pb2


def p(id: str, revision: int, token: str = "") -> watch_pb2.WatchResponse:
    return events(present(f"notes/{id}", revision, {}), token=token or f"t{revision}")


class Reading:
    """A program that asks for the next batch when a test says so."""

    def __init__(self, *says, every: float = 1.0, **options) -> None:
        self.clock = ManualClock()
        self.run = Run(Script(list(says), **options.pop("script", {})), clock=self.clock, **options)
        self.watch = self.run.watch
        self.batches = self.watch.batches(every)
        self.asked: asyncio.Future[list] | None = None

    @property
    def stream(self):
        return self.run.script.streams[-1]

    async def ask(self) -> list[str] | None:
        """Asks for the next batch, if that was not done; None: it has not come."""
        if self.asked is None:
            self.asked = asyncio.ensure_future(self.batches.__anext__())
        await settle()
        if not self.asked.done():
            return None
        asked, self.asked = self.asked, None
        return [text(e) for e in asked.result()]

    async def say(self, *messages) -> None:
        """What the stream says next; it hangs then."""
        self.stream.go_on(*messages)
        await settle()

    async def close(self) -> None:
        await self.batches.aclose()
        if self.asked is not None:
            await asyncio.gather(self.asked, return_exceptions=True)


@in_loop
async def test_the_first_event_after_a_quiet_time_is_given_at_once_and_then_one_batch_at_a_time():
    r = Reading(started("NOW", token="t0", revision=0), p("1", 1), p("2", 2), HANG)
    assert await r.ask() == ["PRESENT notes/1@1 {}"]
    assert await r.ask() is None  # the second has come, but not its time
    await r.say(p("3", 3), p("2", 4))
    await r.clock.advance(0.9)
    assert await r.ask() is None
    await r.clock.advance(0.2)
    assert await r.ask() == ["PRESENT notes/3@3 {}", "PRESENT notes/2@4 {}"]  # the last of each name, where it came
    assert await r.ask() is None
    await r.clock.advance(5)
    await r.say(p("1", 5))
    assert await r.ask() == ["PRESENT notes/1@5 {}"]
    await r.close()


@in_loop
async def test_an_absent_name_is_an_event_like_others():
    r = Reading(started("NOW", token="t0"), events(present("notes/1", 1, {}), present("notes/2", 1, {}), absent("notes/1", 2), token="t2"), HANG)
    assert await r.ask() == ["PRESENT notes/2@1 {}", "ABSENT notes/1@2"]
    await r.close()


@in_loop
async def test_synced_ends_a_batch_at_once():
    r = Reading(started(), events(present("notes/1", 1, {})), events(present("notes/2", 1, {})), snapshot_end(3, "t3"), p("3", 4), HANG)
    assert await r.ask() == ["PRESENT notes/1@1 {}"]
    assert await r.ask() == ["PRESENT notes/2@1 {}", "SYNCED 3"]
    assert await r.ask() is None
    await r.clock.advance(1)
    assert await r.ask() == ["PRESENT notes/3@4 {}"]
    await r.close()


@in_loop
async def test_a_reset_drops_what_came_before_it():
    r = Reading(*STATE, HANG)
    await r.ask(), await r.ask()
    await r.say(p("1", 3), p("2", 4), reset("ACCESS"), events(present("notes/9", 1, {})), snapshot_end(5, "t5"))
    assert await r.ask() == ["RESET ACCESS", "PRESENT notes/9@1 {}", "SYNCED 5"]
    await r.close()


@in_loop
async def test_a_program_that_is_busy_holds_up_the_reading():
    r = Reading(started("NOW", token="t0"), p("1", 1), HANG)
    await r.ask()
    assert await r.ask() is None
    await r.say(p("2", 2))
    await r.clock.advance(1)
    assert await r.ask() == ["PRESENT notes/2@2 {}"]
    await r.say(p("3", 3), p("4", 4), p("5", 5))
    await r.clock.advance(10)
    assert r.stream.says[0] is not HANG and len(r.stream.says) == 3  # the read that had begun holds notes/3
    assert await r.ask() is None  # all that is on its way, until nothing comes for a moment
    await r.clock.advance(0.002)
    assert await r.ask() == ["PRESENT notes/3@3 {}", "PRESENT notes/4@4 {}", "PRESENT notes/5@5 {}"]
    assert await r.ask() is None
    await r.clock.advance(10)
    await r.say(p("6", 6))
    assert await r.ask() == ["PRESENT notes/6@6 {}"]  # it was waiting, and is not behind
    await r.close()


@in_loop
async def test_a_call_for_the_next_batch_may_be_given_up():
    r = Reading(started("NOW", token="t0"), p("1", 1), p("2", 2), HANG)
    await r.ask()
    assert await r.ask() is None
    r.asked.cancel()
    await asyncio.gather(r.asked, return_exceptions=True)
    r.asked = None
    assert await r.ask() is None
    await r.say(p("3", 3))
    await r.clock.advance(1)
    assert await r.ask() == ["PRESENT notes/2@2 {}", "PRESENT notes/3@3 {}"]
    await r.close()


@in_loop
async def test_the_store_gets_the_token_once_the_program_is_done_with_the_batch():
    store = Memory("t0")
    r = Reading(started("RESUMED", token="t0"), p("1", 1), p("2", 2), p("3", 3), HANG, store=store, key="k")
    assert await r.ask() == ["PRESENT notes/1@1 {}"]
    assert await r.ask() is None  # done with t1
    await r.clock.advance(1)
    assert await r.ask() == ["PRESENT notes/2@2 {}", "PRESENT notes/3@3 {}"]
    await r.clock.advance(5)
    assert store.token == "t1" and r.watch.token == "t3"
    await r.say(p("4", 4))  # a read had begun
    await r.clock.advance(5)
    assert store.token == "t1"
    assert await r.ask() is None
    await r.clock.advance(0.002)
    assert await r.ask() == ["PRESENT notes/4@4 {}"]
    await r.clock.advance(1.1)
    assert store.token == "t3"
    await r.close()
    assert store.token == "t3"


@in_loop
async def test_a_token_behind_which_nothing_is_told_is_kept_while_the_program_waits():
    store = Memory("t0")
    r = Reading(started("RESUMED", token="t0"), p("1", 1), HANG, store=store, key="k")
    await r.ask(), await r.ask()
    await r.say(bookmark(7, "t7"))
    await r.clock.advance(3)
    assert store.token == "t7"
    await r.say(p("1", 8), bookmark(9, "t9"))
    assert await r.ask() == ["PRESENT notes/1@8 {}"]
    await r.clock.advance(3)
    assert store.token == "t7"
    await r.close()


@in_loop
async def test_a_token_that_is_void_is_forgotten_although_a_batch_is_not_done():
    store = Memory("t0")
    r = Reading(started("RESUMED", token="t0"), p("1", 1), p("2", 2), HANG, store=store, key="k")
    await r.ask(), await r.ask()
    await r.clock.advance(1)
    assert await r.ask() == ["PRESENT notes/2@2 {}"]
    await r.say(reset("COMPACTED"))
    assert store.token == ""
    assert await r.ask() is None
    await r.clock.advance(3)
    assert await r.ask() == ["RESET COMPACTED"] and store.token == ""
    await r.say(snapshot_end(9, "t9"))
    assert await r.ask() == ["SYNCED 9"]
    assert await r.ask() is None
    await r.close()
    assert store.token == "t9"


@in_loop
async def test_an_error_comes_behind_the_batch_of_what_came_before_it():
    store = Memory("t0")
    error = failure(grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
    r = Reading(started("RESUMED", token="t0"), p("1", 1), p("2", 2), error, store=store, key="k")
    await r.ask()
    assert await r.ask() == ["PRESENT notes/2@2 {}"]  # nothing more can come: at once
    assert store.token == "t1"
    for _ in range(2):
        with pytest.raises(WatchrouteError) as caught:
            await r.ask()
        r.asked = None
        assert caught.value is error
        assert store.token == "t2"
    assert r.clock.pending() == []


@in_loop
async def test_a_watch_that_is_cancelled_ends_its_batches():
    r = Reading(started("NOW", token="t0"), p("1", 1), p("2", 2), HANG)
    await r.ask()
    assert await r.ask() is None
    r.watch.cancel()
    await settle()
    assert isinstance(r.asked.exception(), (StopAsyncIteration, RuntimeError))
    with pytest.raises(StopAsyncIteration):
        await r.batches.__anext__()
    assert r.clock.pending() == []


@in_loop
async def test_leaving_the_loop_frees_everything():
    clock = ManualClock()
    r = Run(Script([started("NOW", token="t0"), p("1", 1), p("2", 2), HANG]), clock=clock)
    script, gone = r.script, weakref.ref(r.watch)
    gc.disable()
    try:
        count = 0
        async for batch in r.watch.batches(0.0):
            count += len(batch)
            if count == 2:
                break
        assert r.states[-1] == "CLOSED" and script.streams[0].cancelled
        del r.watch
        await settle()
        assert gone() is None
    finally:
        gc.enable()
    assert clock.pending() == []


@in_loop
async def test_leaving_the_loop_while_a_read_has_begun_frees_everything():
    r = Reading(started("NOW", token="t0"), p("1", 1), p("2", 2), HANG)
    await r.ask(), await r.ask()
    await r.clock.advance(1)
    assert await r.ask() == ["PRESENT notes/2@2 {}"]
    script, gone = r.run.script, weakref.ref(r.watch)
    assert r.watch._advancing is not None
    del r.batches, r.watch, r.run.watch
    await settle()
    gc.collect()
    assert gone() is None and script.streams[0].cancelled


@in_loop
async def test_what_is_left_of_a_message_is_in_the_first_batch():
    r = Run(Script([started("NOW", token="t0"), events(*(present(f"notes/{i}", 1, {}) for i in range(3)), token="t1"), bookmark(2, "t2"), HANG]),
            clock=ManualClock())
    await r.take(1)
    async with r.watch.batches(1) as batches:
        assert [e.name for e in await batches.__anext__()] == ["notes/1", "notes/2"]
        assert r.watch.token == "t0"


def test_every_is_not_negative():
    for every in (-1, float("nan")):
        with pytest.raises(ValueError):
            Run(Script()).watch.batches(every)


@kinds
@pytest.mark.parametrize("round", range(15))
def test_batches_of_streams_that_are_cut_anywhere_end_with_the_state(kind, round):
    seed = round * 7907 + len(kind)
    print(f"seed {seed}")
    rng = random.Random(seed)

    async def test():
        server = Server(rng)
        streams = rng.randint(3, 10)

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
        reader = Reader()
        r = Run(script, watch_pb2.WatchRequest(parent="notes", **REQUESTS[kind]), seed=seed)
        batches = r.watch.batches(rng.choice([0, 0.01, 5]))
        with pytest.raises(WatchrouteError):
            async for batch in batches:
                names = [e.name for e in batch if e.name]
                assert batch and len(names) == len(set(names))
                assert all(e.kind != "RESET" for e in batch[1:]) and all(e.kind != "SYNCED" for e in batch[:-1])
                for e in batch:
                    reader.take(e)
                if rng.random() < 0.3:
                    await settle()
        assert reader.state == server.state(server.head)

    run(test)
