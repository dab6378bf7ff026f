"""What can be watched of a watch, and of a client."""

from __future__ import annotations

import asyncio
import gc
import logging
from dataclasses import asdict

import pytest

from script import CUT, HANG, Run, Script, absent, bookmark, events, failure, present, reset, snapshot_end, started
from serving import END, serving
from test_session import later, next_of
from test_store import Memory
from test_watch import Code, in_loop
from virtual import ManualClock
from watchroute import Counters, WatchrouteError

SCRIPT = [
    [started(), events(present("notes/1", 1, {}), present("notes/2", 1, {})), snapshot_end(2, "t2"),
     events(present("notes/1", 3, {})), events(absent("notes/2", 4)), CUT],
    [started("RESUMED", revision=2, token="t2"), events(present("notes/1", 3, {}), absent("notes/2", 4), token="t4"), bookmark(5, "t5"), CUT],
    [CUT],
    [started(), reset("COMPACTED"), events(present("notes/1", 6, {})), snapshot_end(7, "t7"), failure(Code.PERMISSION_DENIED)],
]
BYTES = sum(m.ByteSize() for stream in SCRIPT for m in stream if not isinstance(m, WatchrouteError))


@in_loop
async def test_what_is_counted_of_a_watch():
    r = Run(Script(*SCRIPT), store=Memory(fails=True), key="k")
    with pytest.raises(WatchrouteError):
        async for _ in r.watch:
            pass
    await r.watch.close()
    counted = asdict(r.watch.counters)
    assert counted.pop("store_failures") >= 3  # the load, saves, the last save
    assert counted == {"messages": 12, "bytes": BYTES, "events": 5, "duplicates": 2, "reconnects": 3, "resets": 1}


@in_loop
async def test_each_state_is_logged_with_its_cause_and_nothing_else(caplog):
    caplog.set_level(logging.DEBUG, "test")
    r = Run(Script([started(), events(present("notes/1", 1, {"secret": "value"})), snapshot_end(2, "t2"), failure(Code.UNAVAILABLE, "DRAINING")],
                   [started("RESUMED", token="t2", revision=2), HANG], token="credential"), clock=(clock := ManualClock()))
    await r.take(2)
    waiting = asyncio.ensure_future(r.take(1))
    await clock.advance(1)
    await r.watch.close()
    await asyncio.gather(waiting, return_exceptions=True)
    logged = [(x.levelname, x.watch, x.watch_state, x.cause) for x in caplog.records]
    assert logged == [("DEBUG", "notes", state, cause) for state, cause in zip(r.states, r.causes, strict=True)]
    assert [state for _, _, state, _ in logged] == ["CONNECTING", "SNAPSHOT", "LIVE", "BACKING_OFF", "RESUMING", "LIVE", "CLOSED"]
    assert logged[3][3] == "UNAVAILABLE: DRAINING: it failed" and logged[-1][3] == "cancelled"
    assert caplog.records[3].getMessage() == "watch notes: BACKING_OFF: UNAVAILABLE: DRAINING: it failed"
    for record in caplog.records:
        assert "secret" not in str(vars(record)) and "credential" not in str(vars(record))


@in_loop
async def test_a_client_counts_all_of_its_watches_and_mirrors():
    async with serving() as (servicer, client):
        assert client.counters == Counters()
        first = client.watch("a")
        waiting = later(first)
        (await servicer.calls.get()).say(started(), events(present("a/1", 1, {})), snapshot_end(1, "t1"), END)
        await waiting
        await next_of(first)
        mirror = client.mirror("b")
        (await servicer.calls.get()).say(started(), events(present("b/1", 1, {}), present("b/2", 1, {})), snapshot_end(1, "t1"))
        await mirror.synced()
        both = client.counters
        assert both.messages == first.counters.messages + mirror.watch.counters.messages == 6
        assert both.events == 3 and both.bytes == first.counters.bytes + mirror.watch.counters.bytes > 60
        await first.close()
        del first, waiting
        gc.collect()
        assert len(client._watches) == 1
        assert client.counters == both
        both.events += 100
        assert client.counters.events == 3
    assert client.counters.messages == 6
