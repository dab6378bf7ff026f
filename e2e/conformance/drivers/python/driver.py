#!/usr/bin/env python3
"""The driver of the Python client: e2e/conformance/README.md has its protocol.

It finds the client in the tree. Where the interpreter has no grpc, it goes on in the environment that
clients/python/check.sh makes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CLIENT = HERE.parents[3] / "clients" / "python"

try:
    import grpc  # noqa: F401
except ImportError:
    _python = CLIENT / ".venv" / "bin" / "python"
    if Path(sys.executable) == _python or not _python.exists():
        raise
    os.execv(_python, [str(_python), *sys.argv])

sys.path[:0] = [str(CLIENT / "src"), str(HERE)]

import watchroute  # noqa: E402
from google.protobuf import json_format  # noqa: E402
from google.protobuf.message import Message  # noqa: E402
from shop.v1 import orders_pb2  # noqa: E402
from watchroute.v1 import watch_pb2  # noqa: E402

TYPES = {"shop.v1.Order": orders_pb2.Order}
COLLECTIONS = {"orders": orders_pb2.Order}


def report(**what: Any) -> None:
    sys.stdout.write(json.dumps(what, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def failure(e: watchroute.WatchrouteError) -> dict[str, Any]:
    return {"code": e.code.name, "reason": e.reason, "message": e.message, "metadata": dict(e.metadata)}


def data_of(value: Any) -> Any:
    return json_format.MessageToDict(value) if isinstance(value, Message) else value


def held(r: watchroute.Resource[Any]) -> dict[str, Any]:
    return {"revision": str(r.revision), "data": data_of(r.data)}


def timestamp(nanos: int) -> str:
    seconds, rest = divmod(nanos, 1_000_000_000)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"


def resource_of(r: watchroute.Resource[Any]) -> dict[str, Any]:
    out: dict[str, Any] = {"name": r.name, "uid": r.uid, "revision": str(r.revision),
                           "createRevision": str(r.create_revision), "etag": r.etag}
    if r.labels:
        out["labels"] = r.labels
    out["createTime"], out["updateTime"] = timestamp(r.created), timestamp(r.updated)
    if isinstance(r.data, Message):
        out["type"] = r.data.DESCRIPTOR.full_name
    out["data"] = data_of(r.data)
    return out


def type_of(command: dict[str, Any], collection: str) -> type[Message] | None:
    name = command.get("type")
    return TYPES[name] if name else COLLECTIONS.get(collection)


def value_of(name: str, data: dict[str, Any]) -> Message | dict[str, Any]:
    message = COLLECTIONS.get(name.partition("/")[0])
    return data if message is None else json_format.ParseDict(data, message())


class Program:
    """What uses one watch or mirror."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.going = asyncio.Event()
        self.going.set()
        self.cancelled = False
        self.task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        self.cancelled = True
        self.going.set()


class Watcher(Program):
    def __init__(self, id: str, watch: watchroute.Watch[Any]) -> None:
        super().__init__(id)
        self.watch = watch
        self.task = asyncio.create_task(self.run())

    def cancel(self) -> None:
        super().cancel()
        self.watch.cancel()

    async def run(self) -> None:
        ended: dict[str, Any] = {}
        try:
            async for event in self.watch:
                await self.going.wait()
                if self.cancelled:
                    break
                report(id=self.id, event=self.told(event))
                await self.going.wait()
        except watchroute.WatchrouteError as e:
            ended = failure(e)
        await self.watch.close()
        report(id=self.id, ended=ended)

    @staticmethod
    def told(event: watchroute.Event[Any]) -> dict[str, Any]:
        out: dict[str, Any] = {"kind": event.kind.value, "revision": str(event.revision)}
        if event.name:
            out.update(name=event.name, cause=event.cause, coalesced=event.coalesced)
        if event.resource is not None:
            out["data"] = data_of(event.resource.data)
        if event.reason:
            out["reason"] = event.reason
        return out


class Mirrored(Program):
    def __init__(self, id: str, mirror: watchroute.Mirror[Any]) -> None:
        super().__init__(id)
        self.mirror = mirror
        self.waits: set[asyncio.Task[None]] = set()
        mirror.on_change(self.changed)
        self.task = asyncio.create_task(self.run())

    def cancel(self) -> None:
        super().cancel()
        self.mirror.watch.cancel()

    async def changed(self, change: watchroute.Change[Any]) -> None:
        await self.going.wait()
        out: dict[str, Any] = {"kind": "PRESENT" if change.after else "ABSENT", "name": change.name,
                               "revision": str(change.revision), "cause": change.cause, "coalesced": change.coalesced}
        if change.after is not None:
            out["data"] = data_of(change.after.data)
        if change.before is not None:
            out["before"] = data_of(change.before.data)
        report(id=self.id, event=out)

    async def run(self) -> None:
        await self.mirror.closed()
        error = self.mirror.error
        await self.mirror.close()
        if self.waits:
            await asyncio.wait(self.waits)
        report(id=self.id, ended=failure(error) if error is not None else {})

    def dump(self) -> None:
        at = self.mirror.live_as_of
        report(id=self.id, dump={
            "revision": str(self.mirror.revision), "liveAsOf": at.isoformat().replace("+00:00", "Z") if at else "",
            "state": self.mirror.state.value, "resources": {r.name: held(r) for r in self.mirror.list()}})

    def wait_for(self, revision: int) -> None:
        task = asyncio.create_task(self.reach(revision))
        self.waits.add(task)
        task.add_done_callback(self.waits.discard)

    async def reach(self, revision: int) -> None:
        try:
            await self.mirror.wait_for(revision)
        except watchroute.WatchrouteError:
            return  # `ended` says it
        report(id=self.id, reached=str(revision))


class Driver:
    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.credential: str | None = None
        self.asked = 0  # for it
        self.clients: dict[str, watchroute.Client] = {}
        self.programs: dict[str, Program] = {}
        self.ids: dict[int, str] = {}  # by the identity of the watch
        self.calls: set[asyncio.Task[None]] = set()

    def client(self, via: str = "stream") -> watchroute.Client:
        client = self.clients.get(via)
        if client is None:
            client = self.clients[via] = watchroute.Client(
                self.args.address, token=self.token, session=via == "session",
                first=seconds(self.args.first), most=seconds(self.args.most), on_state=self.on_state)
        return client

    def token(self, refused: bool) -> str | None:
        self.asked += 1
        return self.credential

    def on_state(self, watch: watchroute.Watch[Any], state: watchroute.State, cause: str) -> None:
        report(id=self.ids[id(watch)], state=state.value, cause=cause)

    async def run(self) -> None:
        reader = asyncio.StreamReader(limit=64 << 20)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        report(ready=True)
        while line := await reader.readline():
            if line.strip():
                self.command(json.loads(line))
        for program in self.programs.values():
            program.cancel()
        tasks = [p.task for p in self.programs.values() if p.task is not None] + list(self.calls)
        if tasks:
            await asyncio.wait(tasks)
        for client in self.clients.values():
            await client.close()

    def command(self, c: dict[str, Any]) -> None:
        op = c["op"]
        if op == "credential":
            self.credential = c["value"] or None
        elif op == "asked":
            report(n=c["n"], op=op, answer={"times": self.asked})
        elif op == "watch":
            self.watch(c)
        elif op == "mirror":
            self.mirror(c)
        elif op in UNARY:
            task = asyncio.create_task(self.call(c))
            self.calls.add(task)
            task.add_done_callback(self.calls.discard)
        else:
            program = self.programs[c["id"]]
            if op == "pause":
                program.going.clear()
            elif op == "go":
                program.going.set()
            elif op == "cancel":
                program.cancel()
            elif op == "dump" and isinstance(program, Mirrored):
                program.dump()
            elif op == "waitFor" and isinstance(program, Mirrored):
                program.wait_for(int(c["revision"]))
            else:
                raise ValueError(f"unknown command {c}")

    def watch(self, c: dict[str, Any]) -> None:
        request = json_format.ParseDict(c.get("request", {}), watch_pb2.WatchRequest())
        store = watchroute.FileStore(c["store"]) if c.get("store") else None
        watch = self.client(c.get("via") or "stream").watch_of(request, TYPES[c["type"]] if c.get("type") else None, store=store)
        self.ids[id(watch)] = c["id"]
        self.programs[c["id"]] = Watcher(c["id"], watch)

    def mirror(self, c: dict[str, Any]) -> None:
        request = json_format.ParseDict(c.get("request", {}), watch_pb2.WatchRequest())
        mirror = self.client(c.get("via") or "stream").mirror_of(request, TYPES[c["type"]] if c.get("type") else None)
        self.ids[id(mirror.watch)] = c["id"]
        self.programs[c["id"]] = Mirrored(c["id"], mirror)

    async def call(self, c: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"op": c["op"]}
        if "n" in c:
            answer["n"] = c["n"]
        try:
            answer["answer"] = await UNARY[c["op"]](self.client(), c)
        except watchroute.WatchrouteError as e:
            answer["error"] = failure(e)
        report(**answer)


async def get(client: watchroute.Client, c: dict[str, Any]) -> Any:
    return resource_of(await client.get(c["name"], type_of(c, c["name"].partition("/")[0])))


async def list_(client: watchroute.Client, c: dict[str, Any]) -> Any:
    page = await client.list(c["parent"], type_of(c, c["parent"]), page_size=1000)
    return {"resources": [resource_of(r) for r in page.resources], "nextPageToken": page.next_page_token,
            "revision": str(page.revision), "resumeToken": page.resume_token}


async def put(client: watchroute.Client, c: dict[str, Any]) -> Any:
    written = await client.put(c["name"], value_of(c["name"], c["data"]), request_id=c.get("requestId", ""))
    return {"revision": str(written.revision)}


async def delete(client: watchroute.Client, c: dict[str, Any]) -> Any:
    written = await client.delete(c["name"], request_id=c.get("requestId", ""))
    return {"revision": str(written.revision)}


async def write(client: watchroute.Client, c: dict[str, Any]) -> Any:
    operations = [watchroute.Put(name, value_of(name, data)) for name, data in c.get("puts", {}).items()]
    operations += [watchroute.Delete(name) for name in c.get("deletes", [])]
    written = await client.write(c["parent"], operations, request_id=c.get("requestId", ""))
    return {"revision": str(written.revision)}


UNARY: dict[str, Callable[[watchroute.Client, dict[str, Any]], Awaitable[Any]]] = {
    "get": get, "list": list_, "put": put, "delete": delete, "write": write}


def seconds(duration: str) -> float:
    for unit, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0)):
        if duration.endswith(unit):
            return float(duration[:-len(unit)]) * factor
    raise ValueError(f"{duration!r} is not a duration")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--first", default="1s")
    parser.add_argument("--most", default="30s")
    parser.add_argument("--ladder")  # other clients'
    args = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    asyncio.run(Driver(args).run())


if __name__ == "__main__":
    main()
