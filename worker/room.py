"""Room: how many of a process's threads each kind of work may use, so that polls always find one."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from jobs.queues import SLOW_POLLS, TaskName

FULL_S: Final = 0.25
"""A wake-up that finds no room rings again after this many seconds."""

_KINDS: Final = {
    TaskName.SUBMIT: "purchases",
    TaskName.STORE: "downloads",
    TaskName.LATE_FETCH: "downloads",
    TaskName.DELIVER: "deliveries",
    TaskName.DESCRIBE: "deliveries",
}


class Room:
    """The threads that are free for each kind of work.

    Purchases may use half of the threads, and so may deliveries with descriptions, and downloads; a quarter is left
    for polls and for reading the upstream's log. Slow polls use a quarter, or any thread while most polls are slow.
    """

    def __init__(self, threads: int) -> None:
        self.slow_threads = max(1, threads // 4)
        self.half = max(1, threads // 2)
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
    def of(self, task: str, queue: str) -> Iterator[bool]:
        """Use a thread for a task while the block lasts; False: there is no room."""
        kind = SLOW_POLLS if queue == SLOW_POLLS else _KINDS.get(TaskName(task))
        if kind is None:
            yield True
            return
        with self._lock:
            has_room = self._has_room(kind)
            self._used[kind] += has_room
        try:
            yield has_room
        finally:
            with self._lock:
                self._used[kind] -= has_room

    def _has_room(self, kind: str) -> bool:
        if kind == SLOW_POLLS:
            return self.most_polls_are_slow or self._used[kind] < self.slow_threads
        busy = self._used.total() - self._used[SLOW_POLLS]
        return self._used[kind] < self.half and busy < self._busy
