"""Calls over a real connection."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from script import drain, events, present, reset, run, snapshot_end, started, status, text
from serving import END, WRITTEN, abort, serving
from test_session import later, next_of
from test_watch import in_loop
from virtual import AutoClock, ManualClock, settle
from watchroute import (Client, Delete, NOT_WATCHROUTE, Precondition, Put, WatchrouteError)
from watchroute.v1 import resource_pb2, service_pb2
from watchroute.value import encode

Code = grpc.StatusCode


def note(name: str, revision: int, data: dict) -> resource_pb2.Resource:
    r = resource_pb2.Resource(name=name, revision=revision, uid="u", create_revision=2, etag="e", labels={"k": "v"}, data=encode(data))
    r.update_time.FromNanoseconds(1_500_000_000_123_456_789)
    return r


@in_loop
async def test_a_watch_comes_back_with_its_token_and_a_fresh_credential():
    clock = ManualClock()
    given = iter(["c1", "c2"])
    async with serving(clock, token=lambda refused: next(given)) as (servicer, client):
        watch = client.watch("notes", filter="data.n > 1", heartbeat=5, delivery="EVERY_CHANGE")
        waiting = later(watch)
        call = await servicer.calls.get()
        request = await call.requests.get()
        assert request.filter == "data.n > 1" and request.heartbeat.seconds == 5 and request.delivery == 2
        assert call.metadata["authorization"] == "Bearer c1"
        call.say(started(), snapshot_end(1, "t1"), status(14, "away"))
        assert text(await waiting) == "SYNCED 1"
        waiting = later(watch)
        await call.over.wait()
        while str(watch.state) != "BACKING_OFF":
            await asyncio.sleep(0)
        await clock.advance(1)
        call = await servicer.calls.get()
        assert (await call.requests.get()).resume_token == "t1"
        assert call.metadata["authorization"] == "Bearer c2"
        call.say(started("RESUMED", revision=1, token="t1"), events(present("notes/1", 2, {"n": 2}), token="t2"))
        assert text(await waiting) == 'PRESENT notes/1@2 {"n":2}'
        assert watch.counters.bytes > 50 and watch.counters.messages == 4 and watch.counters.reconnects == 1


@in_loop
async def test_a_stream_that_is_silent_is_followed_by_one_on_another_connection():
    clock = ManualClock()
    async with serving(clock) as (servicer, client):
        watch = client.watch("notes")
        waiting = later(watch)
        call = await servicer.calls.get()
        peer = call.context.peer()
        call.say(started(silence=2), snapshot_end(1, "t1"))
        await waiting
        waiting = later(watch)
        await clock.advance(2.1)
        await call.over.wait()
        await clock.advance(1)
        call = await servicer.calls.get()
        assert call.context.peer() != peer
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


@in_loop
async def test_a_server_that_is_not_there_is_tried_again():
    clock = ManualClock()
    states = []
    async with Client("127.0.0.1:1", clock=clock, first=0.05, most=0.1, on_state=lambda w, s, c: states.append(str(s))) as client:
        watch = client.watch("notes")
        waiting = later(watch)
        for failures in range(1, 4):
            while states.count("BACKING_OFF") < failures:
                await asyncio.sleep(0)
            await clock.advance(0.1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with Client("127.0.0.1:1", fail_fast=True) as client:
        with pytest.raises(WatchrouteError) as caught:
            await next_of(client.watch("notes"))
        assert caught.value.code is Code.UNAVAILABLE


@in_loop
async def test_a_server_of_something_else_is_final():
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with Client(f"127.0.0.1:{port}") as client:
        with pytest.raises(WatchrouteError) as caught:
            await next_of(client.watch("notes"))
        assert caught.value.reason == NOT_WATCHROUTE
    await server.stop(None)


@in_loop
async def test_a_web_server_is_final():
    async def page(reader, writer):
        await reader.read(100)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello")
        writer.close()

    server = await asyncio.start_server(page, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Client(f"127.0.0.1:{port}", fail_fast=True) as client:
        with pytest.raises(WatchrouteError):
            await next_of(client.watch("notes"))
    server.close()
    await server.wait_closed()


@in_loop
async def test_a_mirror_over_a_connection():
    clock = ManualClock()
    async with serving(clock) as (servicer, client):
        mirror = client.mirror("notes", indexes={"n": lambda r: [r.data.get("n")]})
        told = []
        mirror.on_change(lambda c: told.append((c.name, c.before and c.before.data, c.after and c.after.data, c.cause)))
        synced = asyncio.ensure_future(mirror.synced())
        call = await servicer.calls.get()
        call.say(started(), events(present("notes/b", 1, {"n": 1}, "ENTERED"), present("notes/a", 1, {"n": 1}, "ENTERED")))
        await settle()
        assert mirror.list() == [] and mirror.revision == 0 and mirror.live_as_of is None
        call.say(snapshot_end(3, "t3"))
        await synced
        assert [r.name for r in mirror.list()] == [r.name for r in mirror.index("n", 1)] == ["notes/a", "notes/b"]
        assert mirror.get("a").data == mirror.get("notes/a").data == {"n": 1} and mirror.get("c") is None
        mirror.get("a").data["n"] = "mine"
        assert mirror.get("a").data == {"n": 1}
        assert mirror.live_as_of.timestamp() == clock.time()

        reached = asyncio.ensure_future(mirror.wait_for(4))
        call.say(events(present("notes/a", 4, {"n": 2})))  # without a token: not all of it
        await clock.advance(1)
        assert mirror.get("a").revision == 1 and not reached.done()
        call.say(events(present("notes/b", 4, {"n": 2}), token="t4"))
        await reached
        assert [r.revision for r in mirror.index("n", 2)] == [4, 4] and mirror.index("n", 1) == []
        before = mirror.live_as_of

        call.say(status(14, "away"))
        await call.over.wait()
        while str(mirror.state) != "BACKING_OFF":
            await asyncio.sleep(0)
        await clock.advance(1)
        call = await servicer.calls.get()
        # It has missed too much: it shows what it has until the state is complete.
        call.say(started(), reset("COMPACTED"), events(present("notes/a", 4, {"n": 2}, "ENTERED"),
                                                                          present("notes/c", 9, {"n": 9}, "ENTERED")))
        while str(mirror.state) != "RESETTING":
            await asyncio.sleep(0)
        assert mirror.revision == 4 and "b" in mirror and "c" not in mirror and mirror.live_as_of == before
        told.clear()
        reached = asyncio.ensure_future(mirror.wait_for(9))
        call.say(snapshot_end(9, "t9"))
        await reached
        while len(told) < 2:
            await asyncio.sleep(0)
        assert told == [("notes/b", {"n": 2}, None, ""), ("notes/c", None, {"n": 9}, "ENTERED")]
        await mirror.close()
        with pytest.raises(WatchrouteError):
            await mirror.wait_for(99)
        assert len(mirror) == 2


@in_loop
async def test_a_callback_holds_up_a_mirrors_progress_not_its_readers():
    async with serving() as (servicer, client):
        mirror = client.mirror("notes")
        gate, entered = asyncio.Event(), asyncio.Event()

        async def slow(change):
            entered.set()
            await gate.wait()
            raise ValueError("callbacks may fail")

        mirror.on_change(slow)
        call = await servicer.calls.get()
        call.say(started(), events(present("notes/a", 1, {})), snapshot_end(1, "t1"), events(present("notes/a", 2, {}), token="t2"))
        await entered.wait()
        await settle()
        assert mirror.get("a").revision == 1 and mirror.watch.token == ""
        gate.set()
        await mirror.wait_for(2)
        await mirror.close()


@in_loop
async def test_a_mirror_tells_who_waits_why_it_ended():
    async with serving() as (servicer, client):
        mirror = client.mirror("notes")
        call = await servicer.calls.get()
        waiting = asyncio.ensure_future(mirror.synced())
        await settle()
        call.say(status(5, "none", "COLLECTION_NOT_FOUND"))
        with pytest.raises(WatchrouteError) as caught:
            await waiting
        assert caught.value.reason == "COLLECTION_NOT_FOUND" and mirror.error is caught.value
        await mirror.close()


@in_loop
async def test_unary_calls():
    async with serving(tenant="acme", token="key") as (servicer, client):
        servicer.unary = [note("notes/1", 5, {"n": 2**70}), service_pb2.ListResponse(
            resources=[note("notes/1", 5, {})], next_page_token="next", revision=9, resume_token="t9"),
            WRITTEN, WRITTEN, service_pb2.WriteBatchResponse(revision=8, results=[WRITTEN, WRITTEN])]
        r = await client.get("notes/1", min_revision=4)
        assert (r.name, r.id, r.revision, r.data, r.labels) == ("notes/1", "1", 5, {"n": 2**70}, {"k": "v"})
        assert r.updated == 1_500_000_000_123_456_789 and r.update_time.isoformat() == "2017-07-14T02:40:00.123456+00:00"
        page = await client.list("notes", filter="true", page_size=7)
        assert (len(page.resources), page.next_page_token, page.revision, page.resume_token) == (1, "next", 9, "t9")
        assert (await client.put("notes/1", {"n": 1}, labels={"a": "b"}, precondition=Precondition(revision=5))).revision == 7
        assert (await client.delete("notes/1", allow_missing=True)).changed
        batch = await client.write("notes", [Put("notes/1", {}, precondition=Precondition(must_not_exist=True)), Delete("notes/2")])
        assert batch.revision == 8 and len(batch.results) == 2
        methods, requests, metadata = zip(*servicer.asked)
        assert methods == ("Get", "List", "Put", "Delete", "Write")
        assert requests[0].min_revision == 4 and requests[1].page_size == 7 and requests[2].precondition.revision == 5
        json = resource_pb2.Json()
        assert requests[2].resource.data.Unpack(json) and json.text == '{"n":1}'
        assert requests[3].allow_missing and requests[4].operations[1].delete == "notes/2"
        assert requests[4].operations[0].precondition.must_not_exist
        assert {(m["authorization"], m["watchroute-tenant"], m["watchroute-json"]) for m in metadata} == {("Bearer key", "acme", "text")}


@in_loop
async def test_errors_of_calls_say_what_the_contract_says():
    async with serving() as (servicer, client):
        servicer.unary = [status(9, "changed", "PRECONDITION_FAILED", revision="8", etag="x")]
        with pytest.raises(WatchrouteError) as caught:
            await client.put("notes/1", {}, precondition=Precondition(revision=5))
        e = caught.value
        assert (e.code, e.reason, e.message, e.metadata, e.retry_after, e.final) == (
            Code.FAILED_PRECONDITION, "PRECONDITION_FAILED", "changed", {"revision": "8", "etag": "x"}, None, True)
        assert str(e) == "FAILED_PRECONDITION: PRECONDITION_FAILED: changed"


@in_loop
async def test_only_a_write_with_a_request_id_is_tried_again():
    away = status(14, "draining", "DRAINING", retry=0.5)
    async with serving(AutoClock()) as (servicer, client):
        servicer.unary = [away, away, away, WRITTEN]
        with pytest.raises(WatchrouteError):
            await client.put("notes/1", {})
        assert (await client.put("notes/1", {}, request_id="r1")).revision == 7
        assert [r.request_id for _, r, _ in servicer.asked] == ["", "r1", "r1", "r1"]
        servicer.unary = [status(10, "no", "INTERNAL"), away]
        for _ in range(2):  # not where the error does not say so, nor for reads
            with pytest.raises(WatchrouteError):
                await (client.put("notes/1", {}, request_id="r2") if servicer.unary[0].code == 10 else client.get("notes/1"))
        servicer.unary = [status(14, "later", "STORE_UNAVAILABLE", retry=40)]
        with pytest.raises(WatchrouteError) as caught:
            await client.put("notes/1", {}, request_id="r3")  # the time would be over
        assert caught.value.reason == "STORE_UNAVAILABLE"


@in_loop
async def test_a_call_has_a_deadline():
    async with serving() as (servicer, client):
        async def hang(method, request, context):
            await asyncio.Event().wait()

        servicer._answer = hang
        with pytest.raises(WatchrouteError) as caught:
            await client.get("notes/1", timeout=0.05)
        assert caught.value.code is Code.DEADLINE_EXCEEDED


def test_closing_a_client_leaves_nothing_behind():
    async def test():
        async with serving() as (servicer, client):
            watches = [client.watch("notes") for _ in range(3)]
            waiting = [later(w) for w in watches]
            mirror = client.mirror("notes")
            for _ in range(4):
                (await servicer.calls.get()).say(started(), drain(1), END)
            await settle()
            await client.close()
            assert all(isinstance(e, StopAsyncIteration) for e in await asyncio.gather(*waiting, return_exceptions=True))
            await mirror.closed()

    run(test)


def test_options_that_cannot_be_sent():
    client = Client("127.0.0.1:1")
    for options in ({"delivery": "SOME"}, {"start": "THEN"}, {"names": "notes/1"}, {"read_mask": "a"}):
        with pytest.raises(ValueError):
            client.watch("notes", **options)
    with pytest.raises(ValueError):
        Client("127.0.0.1:1", first=2, most=1)


def is_closed(error) -> bool:
    return isinstance(error, WatchrouteError) and error.code is Code.CANCELLED and error.message == "the client is closed"


@pytest.mark.parametrize("session", [False, True])
def test_a_client_that_is_closed_stays_closed(session):
    async def test():
        clock = ManualClock()
        async with serving(clock, session=session) as (servicer, client):
            hanging = asyncio.Event()

            async def answer(method, request, context):
                if method == "Put":
                    await abort(context, status(14, "away", retry=5))
                hanging.set()
                await asyncio.Event().wait()

            servicer._answer = answer
            new = client.watch("notes")
            calls = [asyncio.ensure_future(c) for c in (client.get("notes/1"), client.put("notes/1", {}, request_id="r"))]
            await hanging.wait()
            while not clock.pending():  # the write waits before it tries again
                await asyncio.sleep(0.001)
            await client.close()
            assert all(is_closed(e) for e in await asyncio.gather(*calls, return_exceptions=True))
            assert clock.pending() == []
            for call in (client.get("notes/1"), client.list("notes"), client.put("notes/1", {}), client.delete("notes/1"), client.write("notes", [])):
                with pytest.raises(WatchrouteError) as caught:
                    await call
                assert is_closed(caught.value)
            for make in (client.watch, client.mirror):
                with pytest.raises(WatchrouteError) as caught:
                    make("notes")
                assert is_closed(caught.value)
            with pytest.raises(StopAsyncIteration):
                await new.__anext__()
            await client.close()
            assert not client._connections._all and client._connections._current is None

    run(test)


@in_loop
async def test_a_call_that_is_given_up_is_cancelled():
    async with serving() as (servicer, client):
        begun, gone = asyncio.Event(), asyncio.Event()

        async def answer(method, request, context):
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                gone.set()

        servicer._answer = answer
        call = asyncio.ensure_future(client.get("notes/1"))
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await gone.wait()


@in_loop
async def test_all_pages_of_a_list():
    async with serving() as (servicer, client):
        servicer.unary = [service_pb2.ListResponse(resources=[note("notes/1", 5, {}), note("notes/2", 5, {})], next_page_token="p2", revision=9),
                          service_pb2.ListResponse(next_page_token="p3", revision=9),
                          service_pb2.ListResponse(resources=[note("notes/3", 5, {})], revision=9)]
        got = []
        async for r in client.list_all("notes", filter="true", page_size=2, min_revision=3, projection="short"):
            got.append(r.name)
            assert len(servicer.asked) == (1 if len(got) < 3 else 3)
        assert got == ["notes/1", "notes/2", "notes/3"]
        requests = [r for _, r, _ in servicer.asked]
        assert [r.page_token for r in requests] == ["", "p2", "p3"]
        for r in requests:
            assert (r.parent, r.filter, r.page_size, r.min_revision, r.projection) == ("notes", "true", 2, 3, "short")
        servicer.unary = [service_pb2.ListResponse(resources=[note("notes/1", 5, {})], next_page_token="p2"), status(11, "gone", "TOKEN_EXPIRED")]
        got = []
        with pytest.raises(WatchrouteError):
            async for r in client.list_all("notes"):
                got.append(r.name)
        assert got == ["notes/1"]


@in_loop
async def test_a_watch_may_fail_fast_by_itself():
    async with Client("127.0.0.1:1") as client:
        with pytest.raises(WatchrouteError):
            await next_of(client.watch("notes", fail_fast=True))
        async with client.mirror("notes", fail_fast=True) as mirror:
            with pytest.raises(WatchrouteError):
                await mirror.synced()
    async with Client("127.0.0.1:1", fail_fast=True, clock=ManualClock()) as client:
        async with client.watch("notes", fail_fast=False) as watch:
            waiting = later(watch)
            while str(watch.state) != "BACKING_OFF":
                await asyncio.sleep(0.001)
        assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], StopAsyncIteration)


@in_loop
async def test_a_call_may_take_10_seconds_where_nothing_is_said():
    left = []

    async with serving() as (servicer, client):
        async def answer(method, request, context):
            left.append(context.time_remaining())
            return note("notes/1", 1, {})

        servicer._answer = answer
        await client.get("notes/1")
        await client.get("notes/1", timeout=60)
        assert 5 < left[0] < 15 < left[1]


@in_loop
async def test_a_write_is_made_five_times_at_most():
    async with serving(AutoClock(), timeout=None) as (servicer, client):
        servicer.unary = [status(14, "away", retry=0.5)] * 6
        with pytest.raises(WatchrouteError) as caught:
            await client.put("notes/1", {}, request_id="r")
        assert caught.value.code is Code.UNAVAILABLE and len(servicer.asked) == 5


@in_loop
async def test_a_provider_that_does_not_answer_does_not_hold_up_a_call_for_ever():
    async def never(refused):
        await asyncio.Event().wait()

    async with serving(token=never) as (servicer, client):
        with pytest.raises(WatchrouteError) as caught:
            await asyncio.wait_for(client.get("notes/1", timeout=0.05), 5)
        assert caught.value.code is Code.DEADLINE_EXCEEDED
