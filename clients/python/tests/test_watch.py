"""Every state, and what a program is told across broken connections."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import weakref

import grpc
import pytest

from script import (CUT, HANG, R, Run, Script, absent, bookmark, delta, drain, events, failure, present, reset, run,
                    snapshot_end, started)
from virtual import ManualClock, settle
from watchroute.errors import NOT_WATCHROUTE, UNKNOWN_MESSAGE, WRONG_TYPE, WatchrouteError
from watchroute.mirror import Mirror
from watchroute.v1 import resource_pb2, watch_pb2
from watchroute.value import JsonCodec, MessageCodec

Code = grpc.StatusCode

STATE = [started(), events(present("notes/1", 1, {"n": 1}, "ENTERED")), snapshot_end(2, "t2")]


def in_loop(test):
    @functools.wraps(test)
    def whole(*args, **options):
        run(lambda: test(*args, **options))

    return whole


async def fails(r: Run) -> WatchrouteError:
    with pytest.raises(WatchrouteError) as caught:
        async for _ in r.watch:
            pass
    assert r.states[-1] == "CLOSED"
    assert r.watch.error is caught.value
    return caught.value


@in_loop
async def test_the_state_then_changes_then_cancelled():
    r = Run(Script([*STATE, events(present("notes/1", 3, {"n": 3}), token="t3"), events(absent("notes/1", 4), token="t4"), HANG]),
            clock=ManualClock())
    assert await r.take(4) == ['PRESENT notes/1@1 {"n":1}', "SYNCED 2", 'PRESENT notes/1@3 {"n":3}', "ABSENT notes/1@4"]
    waiting = asyncio.ensure_future(r.take(1))
    await settle()
    r.watch.cancel()
    with pytest.raises(StopAsyncIteration):
        await r.watch.__anext__()
    assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], (StopAsyncIteration, RuntimeError))
    assert r.states == ["CONNECTING", "SNAPSHOT", "LIVE", "CLOSED"]
    await r.watch.close()
    assert r.script.streams[0].cancelled


@in_loop
async def test_a_cut_resumes_from_the_token_whose_events_the_program_has_finished():
    r = Run(Script([*STATE, events(present("notes/2", 3, {}), token="t3"), events(present("notes/3", 4, {}), token="t4"), CUT],
                   [started("RESUMED", revision=4, token="t4"), HANG]), clock=(clock := ManualClock()))
    assert (await r.take(4))[-1] == "PRESENT notes/3@4 {}"
    assert r.watch.token == "t3"
    waiting = asyncio.ensure_future(r.take(1))
    await clock.advance(1)
    assert r.script.requests[1].resume_token == "t4"
    assert r.states[3:] == ["BACKING_OFF", "RESUMING", "LIVE"]
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await r.watch.close()


@in_loop
async def test_what_was_told_behind_the_token_is_left_out():
    r = Run(Script([*STATE, events(present("notes/2", 3, {"n": 3})), events(present("notes/3", 3, {"n": 3})), CUT],
                   [started("RESUMED", revision=2, token="t2"), events(present("notes/2", 3, {"n": 3}), present("notes/3", 3, {"n": 3}),
                                                                       present("notes/4", 3, {"n": 3}), token="t3"),
                    events(present("notes/2", 5, {"n": 5}), token="t5")]))
    assert (await r.take(6))[2:] == [f'PRESENT notes/{i}@3 {{"n":3}}' for i in (2, 3, 4)] + ['PRESENT notes/2@5 {"n":5}']
    assert r.watch.counters.duplicates == 2
    assert r.watch.counters.reconnects == 1
    await r.watch.close()


@in_loop
async def test_what_was_folded_anew_with_an_older_revision_is_left_out():
    r = Run(Script([*STATE, events(present("notes/2", 10, {"n": 10})), CUT],
                   [started("RESUMED", revision=2, token="t2"), events(present("notes/2", 8, {"n": 8}), token="t8"),
                    events(present("notes/2", 10, {"n": 10}), token="t10"), events(present("notes/2", 12, {"n": 12}), token="t12")]))
    assert (await r.take(4))[2:] == ['PRESENT notes/2@10 {"n":10}', 'PRESENT notes/2@12 {"n":12}']
    await r.watch.close()


@in_loop
async def test_a_snapshot_that_is_cut_begins_anew_and_says_so():
    r = Run(Script([started(), CUT], [started(), events(present("notes/1", 1, {})), CUT], [*STATE]))
    assert await r.take(4) == ["PRESENT notes/1@1 {}", "RESET INTERRUPTED", 'PRESENT notes/1@1 {"n":1}', "SYNCED 2"]
    assert r.states == ["CONNECTING", "SNAPSHOT", "BACKING_OFF", "CONNECTING", "SNAPSHOT", "BACKING_OFF", "CONNECTING",
                        "RESETTING", "LIVE"]
    assert r.watch.counters.resets == 1
    await r.watch.close()


@in_loop
async def test_a_reset_in_the_middle_of_a_stream():
    r = Run(Script([*STATE, reset("ACCESS"), events(present("notes/9", 1, {})), snapshot_end(5, "t5"), CUT],
                   [started("RESUMED", token="t5", revision=5)]))
    assert (await r.take(5))[2:] == ["RESET ACCESS", "PRESENT notes/9@1 {}", "SYNCED 5"]
    assert r.states == ["CONNECTING", "SNAPSHOT", "LIVE", "RESETTING", "LIVE"]
    assert r.watch.token == ""
    await r.watch.close()


@in_loop
async def test_a_position_that_cannot_be_resumed_is_one_reset_with_the_servers_reason():
    r = Run(Script([*STATE, CUT], [started(), reset("COMPACTED"), snapshot_end(9, "t9"), HANG]), clock=None)
    assert (await r.take(4))[2:] == ["RESET COMPACTED", "SYNCED 9"]
    assert r.states[3:] == ["BACKING_OFF", "RESUMING", "RESETTING", "LIVE"]
    await r.watch.close()


@in_loop
async def test_a_cut_between_started_and_reset_is_still_one_reset():
    r = Run(Script([*STATE, CUT], [started(), CUT], [started(), snapshot_end(9, "t9"), HANG]))
    assert (await r.take(4))[2:] == ["RESET INTERRUPTED", "SYNCED 9"]
    assert [q.resume_token for q in r.script.requests] == ["", "t2", ""]
    await r.watch.close()


@in_loop
async def test_a_resumed_watch_that_gets_a_snapshot_without_a_reset():
    r = Run(Script([*STATE, CUT], [started(), snapshot_end(9, "t9"), HANG]))
    assert (await r.take(4))[2:] == ["RESET INTERRUPTED", "SYNCED 9"]
    await r.watch.close()


@in_loop
async def test_no_event_between_two_resets_needs_only_the_first():
    r = Run(Script([*STATE, reset("EPOCH"), CUT], [started(), snapshot_end(9, "t9"), HANG]))
    assert (await r.take(4))[2:] == ["RESET EPOCH", "SYNCED 9"]
    await r.watch.close()


@in_loop
async def test_now_and_after_revision_count_until_there_is_a_token():
    request = watch_pb2.WatchRequest(parent="notes", after_revision=7)
    r = Run(Script([CUT], [started("RESUMED", revision=7, token="t7"), events(present("notes/1", 8, {}), token="t8"), CUT],
                   [started("RESUMED", revision=7, token="t7"), HANG]), request, clock=(clock := ManualClock()))
    waiting = asyncio.ensure_future(r.take(1))
    await clock.advance(1)
    assert await waiting == ["PRESENT notes/1@8 {}"]
    waiting = asyncio.ensure_future(r.take(1))
    await clock.advance(1)
    assert [q.WhichOneof("start") for q in r.script.requests] == ["after_revision", "after_revision", "resume_token"]
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await r.watch.close()

    request = watch_pb2.WatchRequest(parent="notes", **{"from": watch_pb2.NOW})
    r = Run(Script([started("NOW", revision=3, token="t3"), events(present("notes/1", 8, {}), token="t8"), HANG]), request)
    assert await r.take(1) == ["PRESENT notes/1@8 {}"]
    assert r.states == ["CONNECTING", "LIVE"]
    await r.watch.close()


@in_loop
async def test_a_state_after_after_revision_says_reset():
    request = watch_pb2.WatchRequest(parent="notes", after_revision=7)
    r = Run(Script([started(), reset("COMPACTED"), CUT], [started(), snapshot_end(9, "t9"), HANG]), request)
    assert await r.take(2) == ["RESET COMPACTED", "SYNCED 9"]
    assert r.script.requests[1].WhichOneof("start") is None
    await r.watch.close()


@in_loop
async def test_drain_waits_as_long_as_it_says():
    clock = ManualClock()
    r = Run(Script([*STATE, drain(7.5)], [started("RESUMED", token="t2", revision=2), events(present("notes/1", 3, {}), token="t3")]),
            clock=clock)
    await r.take(2)
    waiting = asyncio.ensure_future(r.take(1))
    await clock.advance(7.4)
    assert r.states[-1] == "DRAINING" and len(r.script.requests) == 1
    await clock.advance(0.2)
    assert await waiting == ["PRESENT notes/1@3 {}"]
    assert r.states[3:] == ["DRAINING", "RESUMING", "LIVE"]
    await r.watch.close()


@in_loop
async def test_silence_ends_a_stream_while_it_is_read():
    clock = ManualClock()
    r = Run(Script([started(silence=4), snapshot_end(2, "t2"), HANG], [started("RESUMED", token="t2", revision=2), HANG]), clock=clock)
    await r.take(1)
    await clock.advance(100)  # the program does not ask: that is not the connection's silence
    assert not r.script.streams[0].cancelled
    waiting = asyncio.ensure_future(r.take(1))
    await clock.advance(3.9)
    assert r.states[-1] == "LIVE"
    await clock.advance(0.2)
    assert r.states[-1] != "LIVE" and r.script.streams[0].cancelled
    assert "silent" in r.causes[-1] or "silent" in r.causes[-2]
    await clock.advance(1)
    assert r.states[-3:] == ["BACKING_OFF", "RESUMING", "LIVE"]
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await r.watch.close()


@in_loop
async def test_started_must_come_within_30_seconds():
    clock = ManualClock()
    r = Run(Script([HANG]), clock=clock)
    waiting = asyncio.ensure_future(r.take(1))
    await clock.advance(29.9)
    assert not r.script.streams[0].cancelled
    await clock.advance(0.2)
    assert r.script.streams[0].cancelled
    r.watch.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await r.watch.close()


@in_loop
async def test_waits_double_up_to_30_seconds_and_begin_again_once_something_came():
    clock = ManualClock()
    seen = []
    up = [started("RESUMED", token="t2", revision=2), bookmark(3, "t3"), CUT]
    r = Run(Script([*STATE, CUT], *([[CUT]] * 8), up), clock=clock)
    r.setting.backoff = None
    r.watch._backoff._rng.uniform = lambda low, high: seen.append((low, high)) or high
    await r.take(2)
    waiting = asyncio.ensure_future(r.take(1))
    await clock.advance(1 + 2 + 4 + 8 + 16 + 30 * 4)
    assert [high for _, high in seen] == [1, 2, 4, 8, 16, 30, 30, 30, 30, 1]
    assert {low for low, _ in seen} == {0}
    r.watch.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await r.watch.close()


@in_loop
async def test_started_alone_does_not_begin_the_waits_again():
    seen = []
    r = Run(Script(*[[started(), CUT]] * 3, STATE))
    r.watch._backoff._rng.uniform = lambda low, high: seen.append(high) or high
    await r.take(1)
    assert seen == [1, 2, 4]
    await r.watch.close()


@in_loop
async def test_retry_info_is_the_least_wait():
    clock = ManualClock()
    r = Run(Script([failure(Code.RESOURCE_EXHAUSTED, "LIMIT_REACHED", retry=12)], STATE), clock=clock)
    waiting = asyncio.ensure_future(r.take(1))
    await clock.advance(11.9)
    assert len(r.script.requests) == 1
    await clock.advance(0.2)
    assert await waiting == ['PRESENT notes/1@1 {"n":1}']
    await r.watch.close()


FINAL = [Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.OUT_OF_RANGE, Code.UNIMPLEMENTED, Code.PERMISSION_DENIED,
         Code.FAILED_PRECONDITION, Code.UNAUTHENTICATED, Code.ALREADY_EXISTS]


@pytest.mark.parametrize("code", [c for c in Code if c is not Code.OK], ids=lambda c: c.name)
def test_which_codes_are_final(code):
    async def test():
        r = Run(Script([*STATE, failure(code, "SOME")], [started("RESUMED", token="t2", revision=2), bookmark(3, "t3"),
                                                         events(present("notes/1", 4, {}), token="t4")]))
        if code in FINAL:
            error = await fails(r)
            assert (error.code, error.reason) == (code, "SOME")
        else:
            assert (await r.take(3))[2] == "PRESENT notes/1@4 {}"
        await r.watch.close()

    run(test)


@in_loop
async def test_unauthenticated_with_retry_info_is_tried_again():
    r = Run(Script([failure(Code.UNAUTHENTICATED, "CREDENTIAL_INVALID", retry=1)], STATE))
    assert await r.take(1) == ['PRESENT notes/1@1 {"n":1}']
    await r.watch.close()


@in_loop
async def test_an_expired_credential_comes_back_at_once_and_then_waits():
    clock = ManualClock()
    asked = []
    expired = failure(Code.UNAUTHENTICATED, "CREDENTIAL_EXPIRED")
    r = Run(Script([*STATE, expired], [expired], [started("RESUMED", token="t2", revision=2), HANG],
                   token=lambda refused: asked.append(refused) or f"c{len(asked)}"), clock=clock)
    await r.take(2)
    waiting = asyncio.ensure_future(r.take(1))
    await settle()
    assert [s.credential for s in r.script.streams] == ["c1", "c2"]
    assert asked == [False, True]
    assert len(clock.pending()) == 1 and clock.pending()[0] <= 1
    await clock.advance(1)
    assert asked == [False, True, True] and r.states[-1] == "LIVE"
    r.watch.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await r.watch.close()


@in_loop
async def test_a_refused_credential_is_final_unless_there_is_another():
    given = iter(["a", "b", "b"])
    r = Run(Script(*[[failure(Code.UNAUTHENTICATED, "CREDENTIAL_REVOKED")]] * 3, token=lambda refused: next(given)))
    assert (await fails(r)).reason == "CREDENTIAL_REVOKED"
    assert [s.credential for s in r.script.streams] == ["a", "b"]


@in_loop
async def test_a_provider_that_fails_is_asked_again():
    given = iter([OSError("away"), "c"])

    async def token(refused):
        value = next(given)
        if isinstance(value, Exception):
            raise value
        return value

    r = Run(Script(STATE, token=token))
    assert await r.take(1) == ['PRESENT notes/1@1 {"n":1}']
    assert "away" in r.causes[1]
    await r.watch.close()


@in_loop
async def test_fail_fast_is_about_the_first_connection_only():
    assert (await fails(Run(Script([CUT]), fail_fast=True))).code is Code.UNAVAILABLE
    r = Run(Script([*STATE, CUT], [CUT], [started("RESUMED", token="t2", revision=2), events(present("notes/1", 3, {}))]), fail_fast=True)
    assert len(await r.take(3)) == 3
    await r.watch.close()
    r = Run(Script([failure(Code.UNAVAILABLE, "DRAINING")], STATE), fail_fast=True)  # it was reached
    assert len(await r.take(2)) == 2
    await r.watch.close()


@in_loop
async def test_what_does_not_speak_the_protocol_is_final_on_the_first_connection_only():
    assert (await fails(Run(Script([failure(Code.UNIMPLEMENTED)])))).reason == NOT_WATCHROUTE
    assert (await fails(Run(Script([bookmark(1, "t1")])))).reason == NOT_WATCHROUTE
    for code in (Code.UNKNOWN, Code.INTERNAL):  # of a call, of a session
        page = failure(code, message="Stream removed (Data frame with END_STREAM flag received)")
        assert (await fails(Run(Script([page])))).reason == NOT_WATCHROUTE
    r = Run(Script([*STATE, CUT], [failure(Code.UNIMPLEMENTED)], [page], [bookmark(1, "t1")],
                   [started("RESUMED", token="t2", revision=2), events(present("notes/1", 3, {}))]))
    assert len(await r.take(3)) == 3
    await r.watch.close()


@in_loop
async def test_what_is_not_known_is_final():
    unknown_state = watch_pb2.Event(state=9)  # type: ignore[arg-type]
    for last in (R(revision=4), R(revision=4, events=watch_pb2.EventBatch(events=[unknown_state]))):
        r = Run(Script([*STATE, last]))
        error = await fails(r)
        assert (error.code, error.reason) == (Code.UNIMPLEMENTED, UNKNOWN_MESSAGE)
    assert (await fails(Run(Script([started("MODE_UNSPECIFIED")])))).reason == UNKNOWN_MESSAGE


@in_loop
async def test_a_value_of_another_type_is_final():
    wrong = present("notes/1", 3, {})
    wrong.resource.data.type_url = "type.googleapis.com/shop.v1.Order"
    error = await fails(Run(Script([*STATE, events(wrong)])))
    assert (error.code, error.reason) == (Code.FAILED_PRECONDITION, WRONG_TYPE)


@in_loop
async def test_a_program_that_stops_waiting_loses_nothing():
    clock = ManualClock()
    r = Run(Script([*STATE, HANG]), clock=clock)
    await r.take(2)
    waiting = asyncio.ensure_future(r.watch.__anext__())
    await settle()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    waiting = asyncio.ensure_future(r.take(1))
    await settle()
    assert len(r.script.streams) == 1 and not r.script.streams[0].cancelled
    stream = r.script.streams[0]
    stream.says = [events(present("notes/1", 3, {}), token="t3"), HANG]
    stream._hung.set_exception(CUT)  # the connection breaks meanwhile
    await clock.advance(1)
    assert r.script.requests[1].resume_token == "t2"
    r.watch.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await r.watch.close()


@in_loop
async def test_a_watch_that_nobody_holds_ends_its_stream():
    r = Run(Script([*STATE, HANG]), clock=ManualClock())
    await r.take(2)
    script, gone = r.script, weakref.ref(r.watch)
    gc.disable()
    try:
        del r.watch
        assert gone() is None
    finally:
        gc.enable()
    assert script.streams[0].cancelled


@in_loop
async def test_nothing_is_read_ahead_of_the_program():
    r = Run(Script([*STATE, events(present("notes/1", 3, {}), token="t3"), HANG]), clock=ManualClock())
    await r.take(1)
    await settle()
    assert r.script.streams[0].read_count == 2
    await r.watch.close()


# Deltas


DELTA = watch_pb2.WatchRequest(parent="notes", delta=True)
WHOLE = [started(), events(present("notes/1", 1, {"a": 1, "b": {"x": 1, "y": 1}})), snapshot_end(2, "t2")]


@in_loop
async def test_a_delta_is_told_whole():
    r = Run(Script([*WHOLE, events(delta("notes/1", 3, 1, ["a", "b.x"], {"b": {"x": 2}}), token="t3")]), DELTA)
    assert (await r.take(3))[2] == 'PRESENT notes/1@3 {"b":{"x":2,"y":1}}'
    assert r.script.requests[0].delta
    await r.watch.close()


@in_loop
async def test_after_a_cut_deltas_change_what_was_held_at_the_token():
    r = Run(Script([*WHOLE, events(delta("notes/1", 3, 1, ["a"], {"a": 2})), events(absent("notes/1", 4)), CUT],
                   [started("RESUMED", token="t2", revision=2), events(delta("notes/1", 3, 1, ["a"], {"a": 2})),
                    events(absent("notes/1", 4)), events(present("notes/1", 5, {"z": 1})),
                    events(delta("notes/1", 6, 5, ["y"], {"y": 1}), token="t6")]), DELTA)
    assert (await r.take(6))[2:] == ['PRESENT notes/1@3 {"a":2,"b":{"x":1,"y":1}}', "ABSENT notes/1@4",
                                     'PRESENT notes/1@5 {"z":1}', 'PRESENT notes/1@6 {"y":1,"z":1}']
    await r.watch.close()


@in_loop
async def test_a_program_may_change_what_it_got():
    r = Run(Script([*WHOLE, events(delta("notes/1", 3, 1, ["a"], {"a": 2}), token="t3")]), DELTA)
    event = await r.watch.__anext__()
    event.data["b"]["x"] = "mine"
    assert (await r.take(2))[1] == 'PRESENT notes/1@3 {"a":2,"b":{"x":1,"y":1}}'
    await r.watch.close()


@in_loop
async def test_a_delta_of_what_is_not_held_begins_anew():
    r = Run(Script([*WHOLE, events(delta("notes/7", 5, 4, ["a"], {"a": 2}), token="t5")],
                   [started(), events(present("notes/1", 5, {"a": 2})), snapshot_end(5, "t5")]), DELTA)
    assert (await r.take(5))[2:] == ["RESET INTERRUPTED", 'PRESENT notes/1@5 {"a":2}', "SYNCED 5"]
    assert r.script.requests[1].WhichOneof("start") is None
    await r.watch.close()


@in_loop
async def test_the_base_may_be_a_change_that_was_not_shown():
    r = Run(Script([*WHOLE, events(delta("notes/1", 5, 4, ["a"], {"a": 2}), token="t5")]), DELTA)
    assert (await r.take(3))[2].startswith("PRESENT notes/1@5")
    await r.watch.close()


@in_loop
async def test_without_values_to_change_no_deltas_are_asked_for():
    request = watch_pb2.WatchRequest(parent="notes", delta=True, resume_token="mine")
    r = Run(Script([started("RESUMED", token="mine"), events(present("notes/1", 3, {}), token="t3"), CUT],
                   [started(), reset("COMPACTED"), events(present("notes/1", 3, {})), snapshot_end(4, "t4"), CUT],
                   [started("RESUMED", token="t4", revision=4), events(delta("notes/1", 5, 3, ["a"], {"a": 1}), token="t5")]), request)
    assert await r.take(5) == ["PRESENT notes/1@3 {}", "RESET COMPACTED", "PRESENT notes/1@3 {}", "SYNCED 4", 'PRESENT notes/1@5 {"a":1}']
    assert [q.delta for q in r.script.requests] == [False, False, True]
    await r.watch.close()


# What goes wrong


class Broken(JsonCodec):
    def decode(self, packed):
        value = super().decode(packed)
        if value == {"bad": True}:
            raise ZeroDivisionError("a bug")
        return value


@in_loop
async def test_an_error_of_another_kind_ends_the_watch_too():
    r = Run(Script([*STATE, events(present("notes/1", 3, {"bad": True}), token="t3"), HANG]), codec=Broken(), clock=(clock := ManualClock()))
    await r.take(2)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError) as caught:
            await r.watch.__anext__()
    assert r.watch.error is caught.value
    assert r.states[-1] == "CLOSED" and "a bug" in r.causes[-1]
    assert r.script.streams[0].cancelled and clock.pending() == []
    await r.watch.close()


@in_loop
async def test_an_error_of_another_kind_ends_a_mirror_too():
    r = Run(Script([*STATE, events(present("notes/1", 3, {"bad": True}), token="t3"), HANG]), codec=Broken(), again=True)
    mirror = Mirror(r.watch, Broken(), {}, r.clock, logging.getLogger("test"))
    with pytest.raises(ZeroDivisionError):
        await mirror.wait_for(3)
    await mirror.closed()
    assert isinstance(mirror.error, ZeroDivisionError) and mirror.revision == 2
    with pytest.raises(ZeroDivisionError):
        await mirror.wait_for(4)
    await mirror.close()


@in_loop
async def test_a_refused_credential_comes_back_at_once_with_another_and_then_waits():
    clock = ManualClock()
    asked = []
    refused = failure(Code.UNAUTHENTICATED, "CREDENTIAL_REVOKED")
    r = Run(Script([*STATE, refused], [refused], [started("RESUMED", token="t2", revision=2), refused], [HANG],
                   token=lambda refused: asked.append(refused) or f"c{len(asked)}"), clock=clock)
    await r.take(2)
    waiting = asyncio.ensure_future(r.take(1))
    await settle()
    assert [s.credential for s in r.script.streams] == ["c1", "c2"]
    assert r.states[-1] == "BACKING_OFF" and len(clock.pending()) == 1 and clock.pending()[0] <= 1
    await clock.advance(1)  # something was received by the third
    assert [s.credential for s in r.script.streams] == ["c1", "c2", "c3", "c4"]
    assert asked == [False, True, True, True]
    r.watch.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await r.watch.close()


@in_loop
async def test_a_change_of_fields_that_this_contract_does_not_know_is_told_without_them():
    """The contract has got more fields: an additive change."""
    def message(revision, value, paths=None):
        e = present("notes/1", revision, {})
        e.resource.data.Pack(value)
        if paths is not None:
            e.updated_fields.paths.extend(paths)
        return e

    first = resource_pb2.Resource(name="a", labels={"a": "1"}, etag="e")
    first.update_time.seconds = 4
    paths = ["brand_new", "brand_new.inner", "update_time.zone", "labels.a", "etag.part", "name"]
    r = Run(Script([started(), events(message(1, first)), snapshot_end(2, "t2"),
                    events(message(3, resource_pb2.Resource(name="b"), paths), token="t3"),
                    events(message(4, resource_pb2.Resource(), ["brand_new"]), token="t4"),
                    events(message(5, watch_pb2.Bookmark(), ["name"]), token="t5")]), DELTA, codec=MessageCodec(resource_pb2.Resource))
    want = resource_pb2.Resource(name="b", labels={"a": "1"}, etag="e")
    want.update_time.seconds = 4
    got = [await r.watch.__anext__() for _ in range(4)]
    assert got[2].data == got[3].data == want and got[3].revision == 4
    assert (await fails(r)).reason == WRONG_TYPE
    assert r.watch.counters.resets == 0
