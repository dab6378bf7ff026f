"""Client of Watchroute: reads, writes and watches resources, over gRPC, in asyncio.

    async with watchroute.Client("127.0.0.1:9090") as client:
        async for event in client.watch("orders", Order):
            ...

Order: the events of a watch come in the order of the collection, each once, whatever becomes of
connections in between. Blocking: nothing is read ahead of the program, but for what fits into a
connection's window, or 256 events in a session. Lifetime: what a client, a watch or a mirror has
started ends with its `close`. Everything belongs to one event loop and is not thread-safe.

For tests: `Client(clock=...)` takes a clock of one's own.
"""

from .batches import Batches
from .client import Client
from .clock import Clock, SystemClock
from .connection import TLS
from .credential import Provider
from .errors import NOT_WATCHROUTE, UNKNOWN_MESSAGE, WRONG_TYPE, WatchrouteError
from .event import Event, Kind, Resource
from .mirror import Change, Mirror
from .state import Counters, State
from .store import FileStore, Store
from .watch import Watch
from .write import Batch, Delete, Page, Precondition, Put, Written

__all__ = [
    "NOT_WATCHROUTE", "TLS", "UNKNOWN_MESSAGE", "WRONG_TYPE", "Batch", "Batches", "Change", "Client", "Clock", "Counters", "Delete",
    "Event", "FileStore", "Kind", "Mirror", "Page", "Precondition", "Provider", "Put", "Resource", "State", "Store",
    "SystemClock", "Watch", "WatchrouteError", "Written",
]
