"""Tokens that outlive the program."""

from __future__ import annotations

import asyncio

from script import CUT, HANG, Run, Script, events, present, reset, snapshot_end, started
from test_watch import STATE, in_loop
from virtual import ManualClock
from watchroute import FileStore
from watchroute.store import Keeper


class Memory:
    def __init__(self, token: str = "", fails: bool = False) -> None:
        self.token, self.fails = token, fails
        self.saves: list[str] = []

    async def load(self, key):
        if self.fails:
            raise OSError("no disk")
        return self.token

    async def save(self, key, token):
        if self.fails:
            raise OSError("no disk")
        self.saves.append(token)
        self.token = token


@in_loop
async def test_a_file_keeps_the_tokens_of_many_watches(tmp_path):
    store = FileStore(tmp_path / "tokens")
    assert await store.load("a") is None
    await asyncio.gather(*(store.save(key, f"t{key}") for key in "abc"))
    await store.save("b", "")
    other = FileStore(tmp_path / "tokens")
    assert [await other.load(key) for key in "abc"] == ["ta", None, "tc"]
    assert [p.name for p in tmp_path.iterdir()] == ["tokens"]


@in_loop
async def test_a_watch_resumes_from_what_its_former_life_has_finished(tmp_path):
    store = FileStore(tmp_path / "tokens")
    r = Run(Script([*STATE, events(present("notes/1", 3, {}), token="t3"), events(present("notes/1", 4, {}), token="t4"), HANG]),
            store=store, key="k", clock=ManualClock())
    await r.take(4)
    await r.watch.close()
    assert await store.load("k") == "t3"  # the program did not ask for what follows the event of t4

    r = Run(Script([started("RESUMED", revision=3, token="t3"), events(present("notes/1", 4, {}), token="t4"), HANG]), store=store, key="k")
    assert await r.take(1) == ["PRESENT notes/1@4 {}"]
    assert r.states == ["RESUMING", "LIVE"] and r.script.requests[0].resume_token == "t3" and not r.script.requests[0].delta
    await r.watch.close()


@in_loop
async def test_a_token_of_the_store_that_cannot_be_resumed_says_reset_and_is_forgotten_first():
    store = Memory("told")
    r = Run(Script([started(), reset("COMPACTED"), events(present("notes/1", 1, {})), snapshot_end(2, "t2"), HANG]), store=store, key="k",
            clock=ManualClock())
    assert await r.take(1) == ["RESET COMPACTED"]
    assert store.token == ""
    assert r.states == ["RESUMING", "RESETTING"]
    await r.watch.close()
    r = Run(Script([started(), CUT], STATE), store=Memory("told"), key="k")
    assert (await r.take(3)) == ["RESET INTERRUPTED", 'PRESENT notes/1@1 {"n":1}', "SYNCED 2"]
    await r.watch.close()


@in_loop
async def test_saves_are_bundled_and_the_last_is_made_at_the_end():
    clock, store = ManualClock(), Memory()
    r = Run(Script([*STATE, *(events(present("notes/1", i, {}), token=f"t{i}") for i in range(3, 100)), HANG]), store=store, key="k", clock=clock)
    await r.take(52)
    await clock.advance(0.9)
    assert store.saves == []
    await clock.advance(0.2)
    assert store.saves == ["t51"]
    await r.take(10)
    await r.watch.close()
    assert store.saves == ["t51", "t61"]


@in_loop
async def test_a_store_that_fails_ends_nothing():
    r = Run(Script([*STATE, HANG]), store=Memory(fails=True), key="k", clock=(clock := ManualClock()))
    await r.take(2)
    waiting = asyncio.ensure_future(r.take(1))
    await clock.advance(1.1)
    assert r.watch.counters.store_failures == 2
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await r.watch.close()


@in_loop
async def test_a_save_that_is_on_its_way_is_followed_by_the_last_token():
    clock, gate = ManualClock(), asyncio.Event()
    saved = []

    class Slow(Memory):
        async def save(self, key, token):
            await gate.wait()
            saved.append(token)

    keeper = Keeper(Slow(), "k", clock, lambda what, e: None)
    keeper.keep("t1")
    await clock.advance(1)
    keeper.keep("t2")
    closing = asyncio.ensure_future(keeper.close())
    gate.set()
    await closing
    assert saved == ["t1", "t2"]
    assert [t for t in clock.pending()] == []


@in_loop
async def test_a_save_that_failed_is_made_again_at_the_end():
    clock, store = ManualClock(), Memory()
    r = Run(Script([*STATE, HANG]), store=store, key="k", clock=clock)
    await r.take(2)
    store.fails = True
    waiting = asyncio.ensure_future(r.take(1))
    await clock.advance(10)
    assert store.saves == [] and r.watch.counters.store_failures == 1  # not again each second
    store.fails = False
    await r.watch.close()
    assert store.saves == ["t2"]
    await asyncio.gather(waiting, return_exceptions=True)


@in_loop
async def test_a_token_that_was_to_be_forgotten_is_forgotten_even_if_it_is_not_known_to_be_kept():
    class Half(Memory):
        async def save(self, key, token):
            await super().save(key, token)
            if token == "t1":
                raise OSError("it was saved, but nobody knows")

    store = Half()
    keeper = Keeper(store, "k", ManualClock(), lambda what, e: None)
    await keeper.keep_now("t1")
    await keeper.keep_now("")
    assert store.token == ""
