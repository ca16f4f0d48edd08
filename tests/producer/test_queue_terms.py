"""When a request may be bought: seconds, or a time."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from producer.queue_terms import seconds_until


@pytest.mark.parametrize("spelling", [90, 90.0, "90", "90.0"])
def test_a_number_is_seconds_from_now(spelling: float | str) -> None:
    """In JSON, in a cell and on the command line."""
    assert seconds_until(spelling) == 90.0


def test_a_time_has_its_offset() -> None:
    """Whichever it is, and Z; what is past is now."""
    at = datetime.now(UTC) + timedelta(hours=1)
    for zone in (UTC, timezone(timedelta(hours=-9, minutes=-30))):
        assert seconds_until(at.astimezone(zone).isoformat()) == pytest.approx(3600, abs=5)
    assert seconds_until(at.isoformat().replace("+00:00", "Z")) == pytest.approx(3600, abs=5)
    assert seconds_until("2020-01-01T00:00:00Z") == 0.0


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "tomorrow",
        "2026-12-24",
        "2026-12-24T18:00:00",
        "nan",
        "inf",
        -1,
        "-1",
        1_795_000_000,
        "9999-01-01T00:00:00Z",
    ],
)
def test_what_could_mean_something_else_is_refused(wrong: float | str) -> None:
    """Epoch seconds, a time without an offset, a date, a wait of more than 31 days."""
    with pytest.raises(ValueError, match=r"seconds from now, or a time with its offset like .*, at most 31 days ahead"):
        seconds_until(wrong)
