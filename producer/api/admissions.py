"""Whether keys are still good: streams of one key share the answer, or thousands would ask every few seconds."""

import asyncio
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any, Final

FRESH_S: Final = 2.0
"""An answer is this old at most."""

MOST_KEYS: Final = 1000
"""Answers that are remembered; older ones are forgotten all at once."""


class Admissions:
    """The newest answer for each key and scope, used from one event loop."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, str], tuple[float, asyncio.Task[bool]]] = {}

    async def is_admitted(self, key: tuple[str, str], ask: Callable[[], Coroutine[Any, Any, bool]]) -> bool:
        """Return the answer, asked for within the last seconds or now; who leaves spoils it for nobody."""
        asked_at, answer = self._asked.get(key, (-FRESH_S, None))
        if answer is None or monotonic() - asked_at >= FRESH_S:
            if len(self._asked) >= MOST_KEYS:
                self._asked.clear()
            answer = asyncio.create_task(ask())
            self._asked[key] = monotonic(), answer
        return await asyncio.shield(answer)
