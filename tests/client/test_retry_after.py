"""Retry-After is read in one place, for the upstream, for receivers and in the client library."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.client.retry_after import LONGEST_S, retry_after_s

NOON = "Wed, 21 Oct 2026 12:00:00 GMT"
NOON_S = 1_792_584_000.0
FOREVER = "9" * 400
LATIN_1 = st.text(st.characters(max_codepoint=255), max_size=40)  # as header bytes arrive


@pytest.mark.parametrize(
    ("said", "wait_s"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("999999", LONGEST_S),
        (FOREVER, LONGEST_S),
        ("Wed, 21 Oct 2026 12:01:00 GMT", 60.0),
        ("Wednesday, 21-Oct-26 12:01:00 GMT", 60.0),
        ("Wed Oct 21 12:01:00 2026", 60.0),
        ("Wed, 21 Oct 2026 11:59:00 GMT", 0.0),
        ("Fri, 21 Oct 2050 12:00:00 GMT", LONGEST_S),
    ],
)
def test_a_wait_is_read_in_either_form(said: str, wait_s: float) -> None:
    """RFC 9110 allows seconds, and a date in three forms; a server that asks for a year gets a day."""
    assert retry_after_s({"retry-after": said}, now=NOON_S) == wait_s


@pytest.mark.parametrize(
    "said",
    [
        *("", "-7", "7.5", "1e3", "nan", "inf", "soon", "²", "٣"),
        "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 -9999999999",
        "1 Jan 2020 00:00:00 +99999999999999999999",
    ],
)
def test_nonsense_asks_for_nothing(said: str) -> None:
    """Our own back-off decides then."""
    assert retry_after_s({"retry-after": said}, now=NOON_S) is None
    assert retry_after_s({}, now=NOON_S) is None


@pytest.mark.parametrize(("sent", "wait_s"), [("Wed, 21 Oct 2026 12:04:00 GMT", 60.0), ("x", 300.0), ("", 300.0)])
def test_a_date_is_compared_with_the_replys_own_clock(sent: str, wait_s: float) -> None:
    """The sender's clock may be wrong by minutes; without its word, ours serves."""
    headers = {"retry-after": "Wed, 21 Oct 2026 12:05:00 GMT", "date": sent}
    assert retry_after_s(headers, now=NOON_S) == wait_s


@given(said=LATIN_1, sent=LATIN_1, now=st.floats(0, 1e11))
def test_no_header_can_ask_for_anything_else(said: str, sent: str, now: float) -> None:
    """Strangers write these headers: whatever they say, the wait is a number within bounds, or none."""
    wait_s = retry_after_s({"retry-after": said, "date": sent}, now=now)
    assert wait_s is None or 0 <= wait_s <= LONGEST_S
