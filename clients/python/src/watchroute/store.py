"""Tokens that outlive the program."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from .clock import Clock, Timer


class Store(Protocol):
    """Keeps tokens. A store that fails costs that more is told again, and no more."""

    async def load(self, key: str) -> str | None:
        """Gives the token that was saved last; None or empty: there is none."""

    async def save(self, key: str, token: str) -> None:
        """Keeps a token. An empty one: there is none any more."""


class FileStore:
    """Keeps tokens in one file, a JSON object, which is replaced as a whole.

    One process uses a file at a time.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._lock = asyncio.Lock()

    async def load(self, key: str) -> str | None:
        async with self._lock:
            return (await asyncio.to_thread(self._read)).get(key)

    async def save(self, key: str, token: str) -> None:
        async with self._lock:
            await asyncio.to_thread(self._write, key, token)

    def _read(self) -> dict[str, str]:
        try:
            tokens = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        if not isinstance(tokens, dict):
            raise ValueError(f"{self._path} does not hold tokens")
        return tokens

    def _write(self, key: str, token: str) -> None:
        try:
            tokens = self._read()
        except ValueError:
            tokens = {}
        if token:
            tokens[key] = token
        else:
            tokens.pop(key, None)
        fd, name = tempfile.mkstemp(prefix=self._path.name, dir=self._path.parent)
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                json.dump(tokens, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self._path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise


class Keeper:
    """Saves the tokens of one watch: the last one, at most `delay` seconds after it came."""

    delay = 1.0

    def __init__(self, store: Store, key: str, clock: Clock, failed: Callable[[str, Exception], None]) -> None:
        """`failed` is told what was tried, and why it did not work."""
        self._store, self._key, self._clock, self._failed = store, key, clock, failed
        self._token = ""
        self._saved: str | None = ""  # None: a save failed, so that is not known
        self._timer: Timer | None = None
        self._saving: asyncio.Task[None] | None = None

    async def load(self) -> str:
        try:
            self._token = self._saved = await self._store.load(self._key) or ""
        except Exception as e:
            self._failed("load", e)
        return self._token

    def keep(self, token: str) -> None:
        """There is a new token."""
        if token == self._token:
            return
        self._token = token
        if self._timer is None and self._saving is None:
            self._timer = self._clock.call_later(self.delay, self._due)

    async def keep_now(self, token: str) -> None:
        """There is a new token, which is saved before this returns."""
        self._token = token
        await self.close()

    async def close(self) -> None:
        """Saves what is not saved yet."""
        if self._saving is not None:
            await self._saving
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._token != self._saved:
            await self._save()

    def _due(self) -> None:
        self._timer = None
        self._saving = asyncio.get_running_loop().create_task(self._save_again())

    async def _save_again(self) -> None:
        tried = self._token
        await self._save()
        self._saving = None
        # A save that failed is made again with the next token, or at the end.
        if self._token != tried and self._timer is None:
            self._timer = self._clock.call_later(self.delay, self._due)

    async def _save(self) -> None:
        token = self._token
        try:
            await self._store.save(self._key, token)
        except Exception as e:
            self._saved = None
            self._failed("save", e)
        else:
            self._saved = token


