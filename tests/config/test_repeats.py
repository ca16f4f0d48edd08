"""A log that is read at night: what lasts is said once a minute."""

import logging

from config.repeats import EVERY_S, Repeats
from tests.stage import Clock


def a_record(text: str, level: int = logging.WARNING, logger: str = "rushes.rescue") -> logging.LogRecord:
    """A log call's record."""
    return logging.LogRecord(logger, level, __file__, 1, "waits: %s", (text,), None)


def test_a_warning_is_repeated_after_a_minute_and_not_before() -> None:
    """An outage of eight hours, tried every three seconds, is 480 lines and not 9,600."""
    clock = Clock(1000.0)
    repeats = Repeats(clock)

    assert repeats.filter(a_record("no answer"))
    assert not repeats.filter(a_record("no answer"))
    clock.advance(EVERY_S)
    assert repeats.filter(a_record("no answer"))


def test_what_is_new_passes() -> None:
    """Another reason, another part of the program, and whatever is no warning."""
    repeats = Repeats(Clock(1000.0))

    for record in (
        a_record("no answer"),
        a_record("refused"),
        a_record("no answer", logger="rushes.tasks"),
        *[a_record("receipt kept by this line only", logging.CRITICAL)] * 2,
        *[a_record("job.completed", logging.INFO)] * 2,
    ):
        assert repeats.filter(record)


def test_what_is_remembered_is_bounded() -> None:
    """A thousand different warnings: each passes, and the log remembers few."""
    repeats = Repeats(Clock(1000.0))

    assert all(repeats.filter(a_record(str(n))) for n in range(1000))
    assert len(repeats._said_at) <= 256
