"""Parts of the producer's tests."""

import threading
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture
def background() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Does something a moment later, beside the test; whatever it raises fails the test."""
    timers: list[threading.Timer] = []
    failures: list[BaseException] = []

    def later(what: Callable[[], object]) -> None:
        def run() -> None:
            try:
                what()
            except BaseException as error:  # noqa: BLE001 (reported at the end of the test, in its thread)
                failures.append(error)

        timers.append(threading.Timer(0.2, run))
        timers[-1].start()

    yield later
    for timer in timers:
        timer.join()
    assert not failures
