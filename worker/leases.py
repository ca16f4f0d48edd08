"""The process's leases: one thread renews what its tasks have claimed, while they are busy with it."""

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Final

from jobs.errors import LedgerUnavailable
from jobs.work_items import Leased, WorkItems

log = logging.getLogger("rushes.leases")

RENEW_EVERY_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class _Batch:
    items: tuple[Leased, ...]
    slot: tuple[str, str] | None
    until: float


class Leases:
    """The leases that this process holds; none is renewed for longer than its step may take."""

    def __init__(self, items: WorkItems) -> None:
        self._items = items
        self._batches: dict[int, _Batch] = {}
        self._names = count()

    @contextmanager
    def renewing(
        self, items: Iterable[Leased], *, longest_s: float, slot: tuple[str, str] | None = None
    ) -> Iterator[None]:
        """Renew the leases of these items, and of a receiver's slot, until the block ends, at most for `longest_s`."""
        name = next(self._names)
        self._batches[name] = _Batch(tuple(items), slot, time.monotonic() + longest_s)
        try:
            yield
        finally:
            del self._batches[name]

    def renew(self) -> None:
        """Renew them once.

        Raises:
            LedgerUnavailable: Redis could not be used.
        """
        now = time.monotonic()
        batches = [batch for batch in list(self._batches.values()) if now < batch.until]
        if batches:
            items = (item for batch in batches for item in batch.items)
            self._items.renew(items, (batch.slot for batch in batches if batch.slot))

    def run(self, *, every_s: float = RENEW_EVERY_S) -> None:
        """Renew them every few seconds, for ever."""
        forever = threading.Event()
        while not forever.wait(every_s):
            try:
                self.renew()
            except LedgerUnavailable as error:
                log.warning("leases wait for the ledger: %s", error)
            except Exception:  # without this thread every lease ends
                log.exception("renewing leases failed; the next round goes on")
