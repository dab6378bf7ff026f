"""Many watches on one stream."""

from __future__ import annotations

import asyncio

import pytest

from script import bookmark, drain, events, present, run, snapshot_end, started, status, text
from serving import END, closed, of, serving
from test_watch import in_loop
from virtual import ManualClock, settle
from watchroute import WatchrouteError
from watchroute.v1 import watch_pb2


async def next_of(watch) -> str:
    return text(await asyncio.wait_for(watch.__anext__(), 10))


def later(watch):
    return asyncio.ensure_future(watch.__anext__())


async def opened(call, parent: str) -> str:
    """The id of the watch that the client opens next."""
    asked = await call.asked("open")
    assert asked.watch.parent == parent and asked.credit == 256
    return asked.watch_id


async def pair(servicer, client):
    """Two live watches of one session, and the session."""
    a, b = client.watch("a"), client.watch("b")
    firsts = [later(a), later(b)]
    call = await servicer.calls.get()
    ids = [await opened(call, "a"), await opened(call, "b")]
    call.say(of(ids[0], started(), ids[1]), of(ids[0], snapshot_end(1, "t1"), ids[1]))
    assert [text(e) for e in await asyncio.gather(*firsts)] == ["SYNCED 1", "SYNCED 1"]
    return a, b, ids, call


@in_loop
async def test_watches_share_a_stream_and_its_packed_messages():
    async with serving(session=True, tenant="acme") as (servicer, client):
        a, b, ids, call = await pair(servicer, client)
        assert call.metadata["watchroute-tenant"] == "acme" and call.metadata["watchroute-json"] == "text"
        packed = of(ids[0], events(present("a/1", 2, {}), token="t2"))
        packed.more.append(of(ids[1], events(present("b/1", 2, {}), token="t2")))
        packed.more.append(of(ids[0], events(present("a/2", 3, {}), token="t3"), ids[1]))
        call.say(packed)
        assert [await next_of(a) for _ in range(2)] == ["PRESENT a/1@2 {}", "PRESENT a/2@3 {}"]
        assert [await next_of(b) for _ in range(2)] == ["PRESENT b/1@2 {}", "PRESENT a/2@3 {}"]


@in_loop
async def test_credit_is_given_when_half_of_it_is_used():
    async with serving(session=True) as (servicer, client):
        a, b, ids, call = await pair(servicer, client)
        for i in range(3):
            call.say(of(ids[0], events(*(present(f"a/{j}", 2 + i, {}) for j in range(64)), token=f"t{2 + i}")))
        for _ in range(128):
            await next_of(a)
        await settle()
        assert call.requests.empty()  # the program is not done with the last one yet
        await next_of(a)
        credit = await call.asked("credit")
        assert (credit.watch_id, credit.events) == (ids[0], 128)


@in_loop
async def test_bookmarks_do_not_pile_up_for_a_program_that_does_not_ask():
    async with serving(session=True) as (servicer, client):
        a, b, ids, call = await pair(servicer, client)
        call.say(*(of(ids[0], bookmark(i, f"t{i}")) for i in range(2, 200)), of(ids[1], events(present("b/1", 300, {}), token="t300")))
        assert await next_of(b) == "PRESENT b/1@300 {}"
        assert len(a._stream._messages) == 1
        waiting = later(a)
        await settle()
        assert a.token == "t199"
        waiting.cancel()


@in_loop
async def test_a_watch_that_ends_is_cancelled_and_the_session_ends_with_the_last():
    async with serving(session=True) as (servicer, client):
        a, b, ids, call = await pair(servicer, client)
        await a.close()
        assert (await call.asked("cancel")).watch_id == ids[0]
        call.say(closed(ids[0], status(0, "")), of(ids[1], events(present("b/1", 2, {}), token="t2")))
        assert await next_of(b) == "PRESENT b/1@2 {}"
        await b.close()
        await call.over.wait()


@in_loop
async def test_what_is_wrong_with_one_watch_ends_only_that():
    async with serving(session=True) as (servicer, client):
        a, b, ids, call = await pair(servicer, client)
        call.say(closed(ids[0], status(5, "gone", "COLLECTION_NOT_FOUND", field="parent")),
                 of(ids[1], events(present("b/1", 2, {}), token="t2")))
        with pytest.raises(WatchrouteError) as caught:
            await next_of(a)
        assert caught.value.reason == "COLLECTION_NOT_FOUND" and caught.value.metadata == {"field": "parent"}
        assert await next_of(b) == "PRESENT b/1@2 {}"


async def come_back(servicer, waiting, clock, token: str = "t1"):
    """Both watches come back on one new session."""
    call = await servicer.calls.get()
    ids = []
    for _ in range(2):
        asked = await call.asked("open")
        assert asked.watch.resume_token == token
        ids.append(asked.watch_id)
    call.say(of(ids[0], started("RESUMED", token=token, revision=1), ids[1]), of(ids[0], events(present("x/1", 9, {}), token="t9"), ids[1]))
    assert [text(e) for e in await asyncio.gather(*waiting)] == ["PRESENT x/1@9 {}"] * 2
    assert servicer.calls.empty()
    return call, ids


@in_loop
async def test_when_the_stream_breaks_all_come_back_on_one_and_wait_once():
    clock = ManualClock()
    async with serving(clock, session=True) as (servicer, client):
        a, b, ids, call = await pair(servicer, client)
        waiting = [later(a), later(b)]
        call.say(status(14, "away", retry=3.0))
        await call.over.wait()
        while not (str(a.state) == str(b.state) == "BACKING_OFF"):
            await asyncio.sleep(0)
        backing_off = [t for t in clock.pending() if t < 29]
        assert len(backing_off) == 2 and backing_off[0] == backing_off[1] == 3.0
        await clock.advance(3)
        await come_back(servicer, waiting, clock)


@in_loop
async def test_a_drain_moves_all_to_a_new_session_at_the_time_of_the_first():
    clock = ManualClock()
    async with serving(clock, session=True) as (servicer, client):
        a, b, ids, call = await pair(servicer, client)
        waiting = [later(a), later(b)]
        call.say(of(ids[0], drain(2)), of(ids[1], drain(4)), END)
        while not (str(a.state) == str(b.state) == "DRAINING"):
            await asyncio.sleep(0)
        await clock.advance(1.9)
        assert servicer.calls.empty()
        await clock.advance(0.2)
        await come_back(servicer, waiting, clock)


@in_loop
async def test_a_session_that_is_silent_is_given_up_with_its_connection():
    clock = ManualClock()
    async with serving(clock, session=True) as (servicer, client):
        a, b, ids, call = await pair(servicer, client)
        waiting = [later(a), later(b)]
        peer = call.context.peer()
        await clock.advance(31)  # `started` said 30 s
        await call.over.wait()
        await clock.advance(1)
        call, _ = await come_back(servicer, waiting, clock)
        assert call.context.peer() != peer


@in_loop
async def test_a_watch_that_is_silent_comes_back_on_another_stream_and_the_others_stay():
    clock = ManualClock()
    async with serving(clock, session=True) as (servicer, client):
        a, b, ids, call = await pair(servicer, client)
        waiting = later(a)
        await clock.advance(20)
        call.say(of(ids[1], events(present("b/1", 2, {}), token="t2")))
        assert await next_of(b) == "PRESENT b/1@2 {}"
        await clock.advance(11)
        assert (await call.asked("cancel")).watch_id == ids[0]
        await clock.advance(1)
        other = await servicer.calls.get()
        assert (await other.asked("open")).watch.resume_token == "t1"
        c = client.watch("c")
        newcomer = later(c)
        await opened(other, "c")
        other.say(of("1", started("RESUMED", token="t1", revision=1)), of("1", events(present("a/1", 3, {}), token="t3")))
        assert text(await waiting) == "PRESENT a/1@3 {}"
        call.say(of(ids[1], events(present("b/1", 4, {}), token="t4")))
        assert await next_of(b) == "PRESENT b/1@4 {}"
        assert call.requests.empty() and servicer.calls.empty()
        await b.close()
        await call.over.wait()
        newcomer.cancel()
        await asyncio.gather(newcomer, return_exceptions=True)


@in_loop
async def test_a_session_that_is_full_is_joined_by_another():
    clock = ManualClock()
    async with serving(clock, session=True) as (servicer, client):
        a, b, ids, call = await pair(servicer, client)
        c = client.watch("c")
        waiting = later(c)
        id = await opened(call, "c")
        call.say(closed(id, status(8, "full", "LIMIT_REACHED", limit="session_watches")))
        while str(c.state) != "BACKING_OFF":
            await asyncio.sleep(0)
        await clock.advance(1)
        other = await servicer.calls.get()
        id = await opened(other, "c")
        other.say(of(id, started()), of(id, snapshot_end(1, "t1")))
        assert text(await waiting) == "SYNCED 1"
        call.say(of(ids[0], events(present("a/1", 2, {}), token="t2")))
        assert await next_of(a) == "PRESENT a/1@2 {}"


@in_loop
async def test_a_session_whose_credential_is_void_is_not_joined_again():
    clock = ManualClock()
    given = iter(["c1", "c2", "c3"])
    async with serving(clock, session=True, token=lambda refused: next(given)) as (servicer, client):
        a = client.watch("a")
        waiting = later(a)
        call = await servicer.calls.get()
        await call.asked("authenticate")
        id = await opened(call, "a")
        call.say(of(id, started()), of(id, snapshot_end(1, "t1")), closed(id, status(16, "revoked", "CREDENTIAL_REVOKED")))
        await waiting
        waiting = later(a)
        call = await servicer.calls.get()  # at once
        assert call.metadata["authorization"] == "Bearer c2"
        await call.asked("authenticate")
        assert (await call.asked("open")).watch.resume_token == "t1"
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


def authenticated(expires: float | None) -> watch_pb2.SessionResponse:
    r = watch_pb2.SessionResponse(authenticated=watch_pb2.Authenticated())
    if expires is not None:
        r.authenticated.expire_time.FromNanoseconds(int(expires * 1e9))
    return r


@in_loop
async def test_credentials_are_renewed_in_place_before_they_expire():
    clock = ManualClock()
    given = iter(["c1", "c2", "c3"])
    async with serving(clock, session=True, token=lambda refused: next(given)) as (servicer, client):
        a = client.watch("a")
        waiting = later(a)
        call = await servicer.calls.get()
        assert call.metadata["authorization"] == "Bearer c1"
        assert (await call.asked("authenticate")).credential == "c1"
        id = await opened(call, "a")
        call.say(authenticated(clock.time() + 100), of(id, started(silence=3000)), of(id, snapshot_end(1, "t1")))
        assert text(await waiting) == "SYNCED 1"
        await clock.advance(89)
        assert call.requests.empty()
        await clock.advance(1.1)
        assert (await call.asked("authenticate")).credential == "c2"
        call.say(authenticated(clock.time() + 20), of(id, bookmark(1, "t1")), of(id, events(present("a/1", 2, {}), token="t2")))
        assert await next_of(a) == "PRESENT a/1@2 {}"
        await clock.advance(14.9)  # 5 s before is more than a tenth
        assert call.requests.empty()
        await clock.advance(0.2)
        assert (await call.asked("authenticate")).credential == "c3"


@in_loop
async def test_a_wrong_clock_does_not_renew_without_a_stop():
    clock = ManualClock()
    asked: list[bool] = []

    def token(refused: bool) -> str:
        asked.append(refused)
        return f"c{len(asked)}"

    async with serving(clock, session=True, token=token) as (servicer, client):
        a = client.watch("a")
        waiting = later(a)
        call = await servicer.calls.get()
        await call.asked("authenticate")
        id = await opened(call, "a")
        call.say(authenticated(clock.time() - 80_000), of(id, started(silence=3000)), of(id, snapshot_end(1, "t1")))
        assert text(await waiting) == "SYNCED 1"
        await clock.advance(10)
        assert call.requests.empty() and asked == [False]


@in_loop
async def test_a_credential_of_somebody_else_needs_another_session_no_more():
    clock = ManualClock()
    given = iter(["c1", "c2", "c3"])
    async with serving(clock, session=True, token=lambda refused: next(given)) as (servicer, client):
        a = client.watch("a")
        waiting = later(a)
        call = await servicer.calls.get()
        await call.asked("authenticate")
        id = await opened(call, "a")
        call.say(authenticated(clock.time() + 100), of(id, started(silence=3000)), of(id, snapshot_end(1, "t1")))
        await waiting
        waiting = later(a)
        await clock.advance(91)
        assert (await call.asked("authenticate")).credential == "c2"
        call.say(status(7, "somebody else's", "PERMISSION_DENIED"))
        while str(a.state) == "LIVE":
            await asyncio.sleep(0)
        await clock.advance(1)
        call = await servicer.calls.get()
        assert call.metadata["authorization"] == "Bearer c3"
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


def test_nothing_is_left_of_a_session_whose_client_is_closed():
    async def test():
        async with serving(session=True) as (servicer, client):
            a, b, ids, call = await pair(servicer, client)
            waiting = later(b)
            await settle()
            await client.close()
            with pytest.raises(StopAsyncIteration):
                await waiting

    run(test)


@pytest.mark.parametrize("left, waits", [(1000, 900), (30, 25), (10, 5), (6, 3), (1.5, 1), (0.5, None), (0, None), (-50, None)])
def test_when_a_credential_is_renewed(left, waits):
    """By the local clock, which may be ahead of the server's: then the stream ends and comes back."""
    async def test():
        clock = ManualClock()
        given = []
        async with serving(clock, session=True, token=lambda refused: given.append(1) or f"c{len(given)}") as (servicer, client):
            a = client.watch("a")
            waiting = later(a)
            call = await servicer.calls.get()
            await call.asked("authenticate")
            id = await opened(call, "a")
            call.say(authenticated(clock.time() + left), of(id, started(silence=3000)), of(id, snapshot_end(1, "t1")))
            await waiting
            if waits is None:
                await clock.advance(100)
            else:
                await clock.advance(waits - 0.1)
            assert call.requests.empty() and len(given) == 1
            if waits is not None:
                await clock.advance(0.2)
                assert (await call.asked("authenticate")).credential == "c2"

    run(test)


@in_loop
async def test_a_provider_that_has_no_fresh_credential_is_asked_a_few_times_more():
    clock = ManualClock()
    asked = []
    async with serving(clock, session=True, token=lambda refused: asked.append(clock.now) or "same") as (servicer, client):
        a = client.watch("a")
        waiting = later(a)
        call = await servicer.calls.get()
        await call.asked("authenticate")
        id = await opened(call, "a")
        call.say(authenticated(clock.time() + 100), of(id, started(silence=3000)), of(id, snapshot_end(1, "t1")))
        await waiting
        begun = clock.now
        await clock.advance(1000)
        assert [round(at - begun, 3) for at in asked[1:]] == [90, 95, 97.5, 98.75, 99.75]
        assert call.requests.empty()


@in_loop
async def test_a_session_ends_when_the_server_has_closed_its_last_watch():
    async with serving(session=True) as (servicer, client):
        a, b, ids, call = await pair(servicer, client)
        waiting = [later(a), later(b)]
        call.say(closed(ids[0], status(5, "gone", "COLLECTION_NOT_FOUND")))
        await asyncio.wait([waiting[0]])
        assert not call.over.is_set()
        packed = closed(ids[1], status(5, "gone", "COLLECTION_NOT_FOUND"))
        packed.more.append(authenticated(2e9))  # what is behind it is of no account
        call.say(packed)
        await asyncio.wait_for(call.over.wait(), 5)
        for error in await asyncio.gather(*waiting, return_exceptions=True):
            assert error.reason == "COLLECTION_NOT_FOUND"
        c = client.watch("c")
        waiting = later(c)
        await opened(await servicer.calls.get(), "c")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


@in_loop
async def test_watches_whose_session_was_refused_ask_once_for_another_credential_and_come_back_at_once():
    clock = ManualClock()
    asked = []

    async def token(refused):
        asked.append(refused)
        await asyncio.sleep(0.001)
        return f"c{len(asked)}"

    async with serving(clock, session=True, token=token) as (servicer, client):
        watches = [client.watch(parent) for parent in "abc"]
        waiting = [later(w) for w in watches]
        call = await servicer.calls.get()
        await call.asked("authenticate")
        for parent in "abc":
            await opened(call, parent)
        call.say(status(16, "revoked", "CREDENTIAL_REVOKED"))
        call = await servicer.calls.get()
        assert call.metadata["authorization"] == "Bearer c2"
        await call.asked("authenticate")
        for _ in "abc":
            await call.asked("open")
        assert asked == [False, True] and servicer.calls.empty()
        await client.close()
        await asyncio.gather(*waiting, return_exceptions=True)
