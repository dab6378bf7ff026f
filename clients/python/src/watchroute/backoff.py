"""How long to wait before trying again."""

from __future__ import annotations

import random


class Backoff:
    """Waits between attempts: full jitter under a ceiling that doubles."""

    def __init__(self, first: float = 1.0, most: float = 30.0, rng: random.Random | None = None) -> None:
        """`first` and `most` are the lowest and the highest ceiling, in seconds."""
        if not 0 < first <= most:
            raise ValueError(f"back-off: 0 < first <= most must hold, not first={first}, most={most}")
        self._first, self._most = first, most
        self._rng = rng or random.Random()
        self._ceiling = first

    def next(self) -> float:
        """The next wait, in seconds: anything between 0 and the ceiling, which is doubled."""
        wait = self._rng.uniform(0, self._ceiling)
        self._ceiling = min(2 * self._ceiling, self._most)
        return wait

    def reset(self) -> None:
        """The ceiling starts again at the lowest."""
        self._ceiling = self._first
