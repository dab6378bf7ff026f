#!/usr/bin/env python3
"""CPU of this process per event, beside that of the bare generated stub, in one run.

Events are put into a node, and then read by one watch of EVERY_CHANGE, several times in turns. Of
`session` the one watch is on a session. What the server uses is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

import grpc  # noqa: E402
import watchroute  # noqa: E402
from watchroute.v1 import resource_pb2, service_pb2_grpc, watch_pb2  # noqa: E402


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def bare(address: str, events: int, parsed: bool = False) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = service_pb2_grpc.ResourceServiceStub(channel)
        call = stub.Watch(watch_pb2.WatchRequest(parent="bench", after_revision=1, delivery="EVERY_CHANGE"),
                          metadata=(("watchroute-json", "text"),))
        seen = 0
        async for response in call:
            seen += len(response.events.events)
            if parsed:
                for event in response.events.events:
                    json.loads(resource_pb2.Json.FromString(event.resource.data.value).text)
            if seen >= events:
                break
        call.cancel()


async def client(address: str, events: int, **options: bool) -> None:
    delta = options.pop("delta", False)
    async with watchroute.Client(address, **options) as c:
        seen = 0
        async with c.watch("bench", after_revision=None if delta else 1, delivery="EVERY_CHANGE", delta=delta) as watch:
            async for event in watch:
                seen += event.name != ""
                if seen >= events:
                    break


async def fill(address: str, events: int, names: int) -> None:
    async with watchroute.Client(address) as c:
        await c.put("bench/first", {})
        for start in range(0, events, 500):
            await c.write("bench", [watchroute.Put(f"bench/{i % names}", {"n": i, "text": "x" * 60, "list": [1, 2, 3]})
                                    for i in range(start, min(start + 500, events))])


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True, help="the watchroute binary")
    parser.add_argument("--events", type=int, default=20000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    ways = {"bare stub": bare, "bare stub, values parsed": lambda a, n: bare(a, n, parsed=True), "stream": client, "session": lambda a, n: client(a, n, session=True)}
    used: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as data:
        address = f"127.0.0.1:{free_port()}"
        node = subprocess.Popen([os.path.abspath(args.binary), "serve", "--http", f"127.0.0.1:{free_port()}", "--grpc", address, "--data", data],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=data)
        try:
            async with grpc.aio.insecure_channel(address) as channel:
                await asyncio.wait_for(channel.channel_ready(), 20)
            await fill(address, args.events, args.events)
            for _ in range(args.rounds):
                for name, way in ways.items():
                    before = cpu()
                    await way(address, args.events)
                    used[name].append((cpu() - before) / args.events * 1e6)
        finally:
            node.terminate()
            node.wait(20)
    for name, values in used.items():
        print(f"{name:24} {statistics.median(values):6.1f} us of CPU per event (of {args.rounds}: "
              f"{min(values):.1f} to {max(values):.1f})")


if __name__ == "__main__":
    asyncio.run(main())
