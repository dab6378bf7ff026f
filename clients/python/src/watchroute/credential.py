"""Credentials, and the function that gives them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Optional, Union

Provider = Callable[[bool], Union[Optional[str], Awaitable[Optional[str]]]]
"""Gives a JWT or an API key, or None for none. The argument says whether the last one was refused."""


class Credentials:
    """The credentials of a client, each asked for when a connection needs one."""

    def __init__(self, provider: Provider | str | None) -> None:
        self._provider = provider
        self._refused = False
        self._given: str | None = None  # the last one
        self._next: list[str | None] = []  # one that was given ahead, at most
        self._replacing = asyncio.Lock()

    async def get(self) -> str | None:
        """The credential of a connection that is about to be made."""
        if self._next:
            return self._next.pop()
        refused, self._refused = self._refused, False
        return await self._ask(refused)

    def refuse(self) -> None:
        """The last one was refused."""
        self._refused = True

    async def replaced(self, refused: str | None) -> bool:
        """Says whether there is another credential than the one that was refused; `get` gives it."""
        if not callable(self._provider):
            return False
        async with self._replacing:
            # Where another watch was refused the same, there is another one already.
            if self._given == refused:
                given = await self._ask(True)
                if given == refused:
                    return False
                self._next = [given]
            self._refused = False
        return True

    async def _ask(self, refused: bool) -> str | None:
        if not callable(self._provider):
            return self._provider
        given = self._provider(refused)
        if inspect.isawaitable(given):
            given = await given
        self._given = given or None
        return self._given
