"""Room: how many of a process's threads each kind of work may use, so that polls always find one."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from jobs.queues import ROUTES, SLOW_POLLS, Bulkhead, TaskName, receiver_of

FULL_S: Final = 0.25
"""A wake-up that finds no room rings again after this many seconds."""

OWN_SHARE_FULL_S: Final = 1.0
"""A webhook of a tenant that holds its whole share rings after this many seconds: dozens of them may wait."""

OwnerOf = Callable[[str], str | None]
"""Names the tenant that a receiver's webhooks belong to; None: the receiver is no webhook."""


class Room:
    """The threads that are free for each kind of work; ARCHITECTURE.md has the shares.

    Slow polls use a quarter, or any thread while most polls are slow. Webhooks leave a quarter of the threads that
    deliver to hooks, the database and descriptions.
    """

    def __init__(self, threads: int, owner_of: OwnerOf = lambda _receiver: None) -> None:
        self.slow_threads = max(1, threads // 4)
        self.half = max(1, threads // 2)
        quarter = self.half // 4
        self._of_an_owner = max(2, quarter)  # one slow receiver has a slot: another of the same tenant goes on
        self._of_webhooks = max(1, self.half - max(1, quarter))
        self._owner_of = owner_of
        self._owners: Counter[str] = Counter()
        self._busy = max(1, threads - self.slow_threads)
        self._used: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._polls, self._timed_out = 0.0, 0.0

    @property
    def most_polls_are_slow(self) -> bool:
        """Whether most of the last polls timed out."""
        return 2 * self._timed_out > self._polls

    def note_polls(self, timed_out: Sequence[bool]) -> None:
        """Note which of some polls timed out; the polls before them count half as much each time."""
        self._polls = self._polls / 2 + len(timed_out)
        self._timed_out = self._timed_out / 2 + sum(timed_out)

    @contextmanager
    def of(self, task: str, queue: str) -> Iterator[float]:
        """Use a thread for a task while the block lasts; yields 0, or the seconds after which to ask again."""
        bulkhead = SLOW_POLLS if queue == SLOW_POLLS else ROUTES[TaskName(task)].bulkhead
        if bulkhead is Bulkhead.NONE:
            yield 0
            return
        owner = self._owner_of(receiver_of(queue) or "")
        with self._lock:
            wait_s = self._wait_s(bulkhead, owner)
            taken = wait_s == 0
            self._note(bulkhead, owner, taken)
        try:
            yield wait_s
        finally:
            with self._lock:
                self._note(bulkhead, owner, -taken)

    def _note(self, bulkhead: str, owner: str | None, change: int) -> None:
        self._used[bulkhead] += change
        if owner is not None:
            self._owners[owner] += change
            self._owners += Counter()  # forgets owners without threads

    def _wait_s(self, bulkhead: str, owner: str | None) -> float:
        if owner is not None and self._owners[owner] >= self._of_an_owner:
            return OWN_SHARE_FULL_S
        if owner is not None and self._owners.total() >= self._of_webhooks:
            return FULL_S
        return 0 if self._has_room(bulkhead) else FULL_S

    def _has_room(self, bulkhead: str) -> bool:
        if bulkhead == SLOW_POLLS:
            return self.most_polls_are_slow or self._used[bulkhead] < self.slow_threads
        busy = self._used.total() - self._used[SLOW_POLLS]
        return self._used[bulkhead] < self.half and busy < self._busy
