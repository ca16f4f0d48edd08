"""Catching up: what ended after a cursor, of one's own jobs, within bounded work, and honestly when it is too late."""

import pytest
import redis

from jobs.events import ENDS, EVENTS
from jobs.job import Terms
from jobs.job_log import START, STREAM
from jobs.ledger import Ledger
from jobs.scripts import Retention
from jobs.states import State
from producer.ends import CursorTooOld, Ends, EndsRead
from tests import steps
from tests.stage import a_request


@pytest.fixture
def reader(ledger: Ledger) -> Ends:
    """A reader that was away."""
    return Ends(ledger)


def ended(ledger: Ledger, name: str, *, tenant: str | None = None, video: bool = True) -> str:
    """A job that has ended, with its video or without."""
    terms = Terms(job_id=f"job_{name}", deadline_s=60, tenant=tenant)
    state = State.COMPLETED if video else State.CANCELLED
    return steps.job_in(ledger, state, a_request(name), terms, message="called off", ends_unbought=True).id


def read(ends: Ends, cursor: str | None = None, **terms: object) -> EndsRead:
    """A reading that reaches back far enough."""
    found = ends.after(cursor, **{"limit": 100, **terms})  # type: ignore[arg-type]  # one test, many terms
    assert isinstance(found, EndsRead)
    return found


def pairs(found: EndsRead) -> list[tuple[str, str]]:
    """What was read, in short."""
    return [(end.job.id, end.event) for end in found.ends]


def test_a_reader_that_was_away_reads_each_end_once_in_order(reader: Ends, ledger: Ledger) -> None:
    """From a cursor that was kept, page by page, until there is no more."""
    ended(ledger, "before")
    cursor = reader.latest()
    wanted = [
        (ended(ledger, name, video=name != "b"), f"job.{'cancelled' if name == 'b' else 'completed'}") for name in "abc"
    ]

    first = read(reader, cursor, limit=2)
    rest = read(reader, first.cursor)

    assert (pairs(first), pairs(rest)) == (wanted[:2], wanted[2:])
    assert (first.has_more, rest.has_more) == (True, False)
    assert pairs(read(reader, rest.cursor)) == []
    assert [end for end, _ in pairs(read(reader, events=["job.cancelled"]))] == ["job_b"]


def test_a_tenant_reads_its_own_and_its_cursor_moves_on_past_others(reader: Ends, ledger: Ledger) -> None:
    """While nothing of its own happens, too: else its cursor would grow old for nothing."""
    mine = ended(ledger, "mine", tenant="shop")
    for n in range(3):
        ended(ledger, f"other{n}", tenant="gym")

    found = read(reader, tenant="shop")

    assert pairs(found) == [(mine, "job.completed")]
    assert found.cursor == reader.latest()


def test_one_reading_does_bounded_work(ledger: Ledger) -> None:
    """A page may be empty and still have more behind it; going on finds everything."""
    reader = Ends(ledger, entries=2, most_ranges=2)
    jobs = [ended(ledger, f"{n}") for n in range(3)]

    pages = [read(reader)]
    while pages[-1].has_more:
        pages.append(read(reader, pages[-1].cursor))

    assert any(not page.ends for page in pages)
    assert [job_id for page in pages for job_id, _ in pairs(page)] == jobs


def test_a_cursor_that_is_too_old_is_reported(client: "redis.Redis", reader: Ends) -> None:
    """Never a silent gap; also where it was taken before anything had happened."""
    ledger = Ledger(client)
    before = reader.latest()
    assert before == START
    ended(ledger, "first")
    kept = reader.latest()
    assert len(read(reader, START).ends) == 1, "nothing was forgotten yet"
    ended(ledger, "second")
    client.xtrim(STREAM, maxlen=3, approximate=False)

    assert reader.after(before, limit=10) == CursorTooOld(before)
    assert reader.after(kept, limit=10) == CursorTooOld(kept)
    assert pairs(read(reader)) == [("job_second", "job.completed")], "what is left can be read without a cursor"


def test_the_script_itself_forgets_what_is_too_much(client: "redis.Redis", reader: Ends) -> None:
    """As it does in life, by whole nodes of the stream."""
    ledger = Ledger(client, retention=Retention(stream_entries=50))
    ended(ledger, "first")
    kept = reader.latest()
    for n in range(100):
        ended(ledger, f"{n}", video=False)

    assert reader.after(kept, limit=10) == CursorTooOld(kept)


def test_an_erased_job_is_left_out_though_the_event_stream_has_it(
    client: "redis.Redis", reader: Ends, ledger: Ledger
) -> None:
    """The event stream's own words quote URLs and messages; only the row's are shown, and that has forgotten them."""
    job_id = ended(ledger, "private", video=False)
    other = ended(ledger, "kept", video=False)
    ledger.erase(ledger.get(job_id))
    assert "called off" in str(client.xrange(STREAM)), "the event stream itself still holds it"

    assert pairs(read(reader)) == [(other, "job.cancelled")]


def test_a_job_whose_row_has_ended_is_left_out(client: "redis.Redis", reader: Ends, ledger: Ledger) -> None:
    """As no webhook would be sent of it any more."""
    client.delete(f"rushes:job:{ended(ledger, 'gone')}")

    assert pairs(read(reader)) == []


def test_every_end_is_an_event_of_the_feed() -> None:
    """Else nobody would ever read it."""
    assert set(ENDS) <= set(EVENTS)
