"""What a retry means, and how an ended job is repeated or forgotten in the ledger."""

import pytest
import redis

from jobs.errors import StaleTurn, UnknownJob, WrongState
from jobs.job import Charged, Job, Reason, Stored, Terms, VideoRequest
from jobs.ledger import Ledger, new_job_id
from jobs.moves.request import Retry, on_retry
from jobs.states import FollowUp, State
from tests import steps
from tests.stage import Clock

GIVEN_UP = (State.FAILED, State.CANCELLED, State.EXPIRED)


@pytest.fixture
def ended(ledger: Ledger, request_for_dragon: VideoRequest) -> Job:
    """A job whose generation was bought, and that was then given up; its late video is still polled for."""
    job = steps.job_in(ledger, State.RENDERING, request_for_dragon, generation_id="generation-1", first_poll_s=30)
    verdict = steps.ended(State.EXPIRED, Reason.DEADLINE_PASSED, "too late", Charged.YES, late_fetch_in_s=60)
    steps.end(ledger, job, verdict)
    return ledger.get(job.id)


# -- the decision ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", GIVEN_UP)
@pytest.mark.parametrize("pay_again", [False, True])
def test_a_generation_that_may_be_fetched_is_never_bought_again(ended: Job, state: State, pay_again: bool) -> None:
    """Not even a caller who would pay buys it again."""
    assert on_retry(ended.model_copy(update={"state": state}), pay_again=pay_again) == Retry.GO_ON


@pytest.mark.parametrize("state", GIVEN_UP)
def test_without_a_generation_only_the_callers_word_buys(ended: Job, state: State) -> None:
    """Nothing was bought, or what was bought has failed, so a retry costs money."""
    for job in (
        ended.model_copy(update={"state": state, "generation_id": None}),
        ended.model_copy(update={"state": state, "reason": Reason.GENERATION_FAILED}),
    ):
        assert on_retry(job, pay_again=False) == Retry.WOULD_PAY
        assert on_retry(job, pay_again=True) == Retry.BUY_AGAIN


@pytest.mark.parametrize("state", [state for state in State if not state.is_final])
def test_what_goes_on_is_not_repeated(ended: Job, state: State) -> None:
    """It would be bought twice."""
    assert on_retry(ended.model_copy(update={"state": state}), pay_again=True) == Retry.NOT_OVER


def test_what_has_its_video_is_not_repeated(ended: Job) -> None:
    """This also holds for a video that came late, after the job had expired."""
    stored = Stored("a.mp4", 1, "00", "video/mp4")

    assert on_retry(ended.model_copy(update={"state": State.COMPLETED}), pay_again=True) == Retry.HAS_ITS_VIDEO
    assert on_retry(ended.model_copy(update={"stored": stored}), pay_again=True) == Retry.HAS_ITS_VIDEO


# -- the ledger -----------------------------------------------------------------------------------------------------


def test_a_repetition_goes_on_where_the_old_job_ended(ledger: Ledger, ended: Job) -> None:
    """The request, the generation and the path it was bought on are the same; the cost is not counted twice."""
    answer = ledger.retry(ended, job_id=new_job_id(), go_on=True)

    new = ledger.get(answer.job_id)
    assert not answer.replayed
    assert (new.state, new.generation_id, new.family) == (State.RENDERING, "generation-1", ended.family)
    assert (new.cost_usd, new.charged, new.retry_of) == (0.0, Charged.YES, ended.id)
    assert ledger.request(new.id) == ledger.request(ended.id)
    assert ledger.get(ended.id).retried_as == new.id
    assert [entry.event for entry in ledger.job_log.of(new.id)] == ["job.accepted"]


def test_a_job_is_repeated_once(ledger: Ledger, ended: Job) -> None:
    """A doubled request finds the first repetition."""
    first = ledger.retry(ended, job_id=new_job_id(), go_on=False)
    second = ledger.retry(ended, job_id=new_job_id(), go_on=False)

    assert (second.job_id, second.replayed) == (first.job_id, True)
    assert ledger.get(first.job_id).state is State.QUEUED


def test_what_has_moved_since_it_was_read_is_not_repeated(ledger: Ledger, ended: Job) -> None:
    """The decision was made about another state."""
    with pytest.raises(WrongState):
        ledger.retry(ended.model_copy(update={"state": State.FAILED}), job_id=new_job_id(), go_on=True)


def test_an_erased_job_leaves_its_row_and_nothing_else(ledger: Ledger, ended: Job, client: "redis.Redis") -> None:
    """What it cost is kept; what it was about, and what it still needed, is not."""
    ledger.erase(ended)
    ledger.erase(ended)  # twice is harmless

    row = ledger.get(ended.id)
    assert (row.cost_usd, row.charged, row.message) == (3.36, Charged.YES, None)
    assert row.erased_at is not None
    assert ledger.follow_ups() == 0
    assert ledger.page() == []
    assert not client.exists(f"rushes:request:{ended.id}", f"rushes:log:{ended.id}")
    with pytest.raises(UnknownJob):
        ledger.retry(ended, job_id=new_job_id(), go_on=True)


def test_a_follow_up_of_an_erased_job_is_refused(ledger: Ledger, ended: Job, clock: Clock) -> None:
    """A late video whose download was under way is not kept."""
    clock.advance(60)
    (under_way,) = steps.claimed_items(ledger, FollowUp.LATE_FETCH)
    ledger.erase(ended)

    with pytest.raises(StaleTurn):
        steps.late_fetch_ended(ledger, under_way, Charged.YES, "gone")


def test_an_unfinished_job_is_not_erased(ledger: Ledger, request_for_dragon: VideoRequest) -> None:
    """It would go on without anybody knowing what it is."""
    job_id = ledger.accept(request_for_dragon, Terms(deadline_s=1000)).job_id

    with pytest.raises(WrongState):
        ledger.erase(ledger.get(job_id))
