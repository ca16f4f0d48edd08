"""The decisions, one by one: pure functions of a job, a fact and the time."""

from dataclasses import replace
from typing import Final

import pytest

from jobs.facts import (
    Accepted,
    ArchiveUnavailable,
    Download,
    Fetched,
    Finished,
    GenerationFailed,
    Gone,
    Inconclusive,
    NoResult,
    NotBought,
    NotFetched,
    Pending,
    PollResult,
    Rejected,
    Unknown,
)
from jobs.job import Charged, Hold, Job, Reason, Stored, Video
from jobs.moves.download import after_download, completed, store_failed
from jobs.moves.follow_up import after_late_poll
from jobs.moves.move import Move, Policy, ended
from jobs.moves.poll import FIRST_TIMEOUT_S, after_poll, poll_timeout_s, polled, rendered
from jobs.moves.purchase import (
    BoughtTwice,
    adopted_late,
    after_late_receipt,
    after_submit,
    before_submit,
    bought_late,
    held,
    in_doubt,
    submitted,
)
from jobs.moves.reconcile import resubmitted
from jobs.moves.request import if_cancelled, on_cancel
from jobs.queues import SLOW_POLLS
from jobs.schedule import FixedSchedule, interval
from jobs.states import FollowUp, State

NOW: Final = 1_800_000_000.0
POLICY: Final = Policy(
    schedule=FixedSchedule(first_s=30, interval_s=10),
    poll_interval_s=10,
    hold_first_s=5,
    hold_longest_s=120,
    download_first_s=2,
    download_longest_s=300,
    download_patience_s=86400,
)
TIMED_OUT: Final = NoResult(Hold.UNREACHABLE, "no answer", timed_out=True)
VIDEO: Final = Video("https://cdn.example/clip.mp4")
STORED: Final = Stored("2027/01/15/job.mp4", 10, "ab", "video/mp4")


def a_job(state: State = State.RENDERING, **fields: object) -> Job:
    """A job in mid-life, but for the fields that a test is about."""
    job = Job(
        id="job_1",
        version=1,
        state=state,
        turn=3,
        model="google/veo3",
        accepted_at=NOW - 60,
        deadline_at=NOW + 900,
        deadline_s=1000,
        submitted_at=NOW - 50,
        rendered_at=NOW - 5 if state is State.STORING else None,
    )
    return job.model_copy(update=fields)


def outcome(move: Move | None) -> tuple[object, ...]:
    """How a move ends the job."""
    assert move is not None
    return (move.to, move.set.get("reason"), move.set.get("charged"))


def test_a_queued_job_buys() -> None:
    """Nothing speaks against a purchase."""
    assert before_submit(a_job(State.QUEUED), now=NOW) is None


def test_a_job_that_waited_too_long_expires_before_it_costs_anything() -> None:
    """A customer who requested it yesterday may not want to pay for it today."""
    verdict = before_submit(a_job(State.QUEUED, deadline_at=NOW), now=NOW)

    assert outcome(verdict) == (State.EXPIRED, Reason.QUEUE_EXPIRED, Charged.NO)


def test_a_cancel_asked_for_during_a_refused_purchase_is_granted_before_the_next() -> None:
    """The wish outlives the turn in which it was made."""
    verdict = before_submit(a_job(State.QUEUED, cancel_requested_at=NOW - 1), now=NOW)

    assert outcome(verdict) == (State.CANCELLED, Reason.CANCELLED, Charged.NO)


def test_a_receipt_is_followed_by_the_first_poll() -> None:
    """No video has come sooner than the first poll."""
    job = a_job(State.SUBMITTING)
    move = after_submit(job, Accepted("gen-1", 3.36), policy=POLICY)

    assert move == submitted(job, "gen-1", cost_usd=3.36, first_poll_s=30)
    assert (move.to, move.due_in_s, move.deadline_in_s) == (State.RENDERING, 30, 1000)


@pytest.mark.parametrize(("holds", "wait"), [(0, 5), (1, 10), (2, 20), (5, 120), (5000, 120)])
def test_holds_in_a_row_wait_longer_each_time(holds: int, wait: float) -> None:
    """An upstream that refuses is not hammered, and not forgotten."""
    job = a_job(State.SUBMITTING, holds=holds)
    verdict = after_submit(job, NotBought(Hold.BAD_KEY, "no"), policy=POLICY)
    assert verdict == held(job, Hold.BAD_KEY, "no", wait_s=wait)


def test_retry_after_is_obeyed() -> None:
    """The upstream knows better than our backoff."""
    job = a_job(State.SUBMITTING)
    verdict = after_submit(job, NotBought(Hold.THROTTLED, "slow", 17.0), policy=POLICY)
    assert verdict == held(job, Hold.THROTTLED, "slow", wait_s=17.0)


def test_a_refused_request_fails_free_of_charge() -> None:
    """The same request would be refused again."""
    verdict = after_submit(a_job(State.SUBMITTING), Rejected("bad prompt"), policy=POLICY)
    assert verdict == ended(State.FAILED, Reason.REFUSED, "bad prompt", Charged.NO)


def test_an_unknown_outcome_is_asked_about_and_never_repeated() -> None:
    """It may have been bought: the one thing that must not follow is another purchase."""
    move = after_submit(a_job(State.SUBMITTING), Unknown("lost"), policy=POLICY)

    assert move == in_doubt("lost", policy=POLICY)
    assert move.set["charged"] is Charged.UNKNOWN


@pytest.mark.parametrize("polls", [0, 1000])
def test_waiting_is_not_failing(polls: int) -> None:
    """A thousand polls cost no attempt."""
    job = a_job(polls=polls)
    move = after_poll(job, Pending("generating"), now=NOW, policy=POLICY)
    assert move == polled(job, "generating", wait_s=10, pending=True)


@pytest.mark.parametrize("seen", [Pending("generating"), NoResult(Hold.UNAVAILABLE, "524"), TIMED_OUT])
def test_only_the_deadline_ends_the_waiting(seen: PollResult) -> None:
    """Neither a slow video nor a sick upstream fails a job before its time; then the charge is not known."""
    late = after_poll(a_job(deadline_at=NOW), seen, now=NOW, policy=POLICY)
    assert outcome(late) == (State.EXPIRED, Reason.DEADLINE_PASSED, Charged.UNKNOWN)

    assert after_poll(a_job(deadline_at=NOW + 1), seen, now=NOW, policy=POLICY).event == "job.polled"


def test_the_last_poll_comes_at_the_deadline() -> None:
    """An interval later would be later than promised."""
    move = after_poll(a_job(deadline_at=NOW + 3), Pending("queued"), now=NOW, policy=POLICY)
    assert (move.event, move.due_in_s) == ("job.polled", 3)


def test_a_video_that_is_done_at_the_deadline_is_kept() -> None:
    """It is paid for."""
    late = a_job(deadline_at=NOW - 5)
    assert after_poll(late, Finished(VIDEO), now=NOW, policy=POLICY) == rendered(
        late, VIDEO, took=interval(late, now=NOW)
    )


def test_a_generation_that_failed_is_not_charged() -> None:
    """These are the upstream's own terms."""
    verdict = after_poll(a_job(), GenerationFailed("no face"), now=NOW, policy=POLICY)
    assert verdict == ended(State.FAILED, Reason.GENERATION_FAILED, "no face", Charged.NO)


def test_a_refusal_by_the_safety_filter_is_its_own_reason() -> None:
    """The customer must know to change the prompt, not to try again."""
    later = after_poll(a_job(), GenerationFailed("no", Charged.UNKNOWN, by_filter=True), now=NOW, policy=POLICY)
    assert later == ended(State.FAILED, Reason.CONTENT_REFUSED, "no", Charged.UNKNOWN)

    at_once = after_submit(a_job(State.SUBMITTING), Rejected("no", by_filter=True), policy=POLICY)
    assert at_once == ended(State.FAILED, Reason.CONTENT_REFUSED, "no", Charged.NO)


ODD: Final = Inconclusive("published, with a video", "video 1", Finished(VIDEO, "read as done"), polls=3)
EMPTY: Final = Inconclusive(
    "completed, but empty", "no video", GenerationFailed("nothing came", Charged.UNKNOWN), polls=4
)


def test_an_inconclusive_reply_is_believed_once_enough_polls_in_a_row_gave_it() -> None:
    """Each poll writes down what it saw; another kind of evidence begins anew."""
    first = after_poll(a_job(), ODD, now=NOW, policy=POLICY)
    second = after_poll(a_job(evidence="video 1", evidence_polls=1), ODD, now=NOW, policy=POLICY)
    last = a_job(evidence="video 1", evidence_polls=2)
    other = after_poll(a_job(evidence="video 2", evidence_polls=2), ODD, now=NOW, policy=POLICY)

    assert first == other
    assert (first.event, first.due_in_s) == (second.event, second.due_in_s) == ("job.polled", 10)
    assert first.set == {"evidence": "video 1", "evidence_polls": 1}
    assert second.set == {"evidence": "video 1", "evidence_polls": 2}
    assert after_poll(last, ODD, now=NOW, policy=POLICY) == rendered(
        last, VIDEO, "read as done", took=interval(last, now=NOW)
    )


def test_a_plain_reply_forgets_the_evidence_before_it() -> None:
    """Only replies in a row are believed."""
    move = after_poll(a_job(evidence="video 1", evidence_polls=2), Pending("queued"), now=NOW, policy=POLICY)
    assert {*move.clear} == {"evidence", "evidence_polls"}


def test_success_without_a_video_fails_after_three_more_polls() -> None:
    """The job says why, and whether it was charged as far as that is known."""
    more = after_poll(a_job(evidence="no video", evidence_polls=2), EMPTY, now=NOW, policy=POLICY)
    last = after_poll(a_job(evidence="no video", evidence_polls=3), EMPTY, now=NOW, policy=POLICY)

    assert more.event == "job.polled"
    assert last == ended(State.FAILED, Reason.GENERATION_FAILED, "nothing came", Charged.UNKNOWN)


def test_at_the_deadline_a_video_is_better_than_none() -> None:
    """What an odd reply shows is fetched; a reply without a video is what the late polls are for."""
    late = a_job(deadline_at=NOW, generation_id="gen-1")
    assert after_poll(late, ODD, now=NOW, policy=POLICY) == rendered(
        late, VIDEO, "read as done", took=interval(late, now=NOW)
    )

    verdict = after_poll(late, EMPTY, now=NOW, policy=POLICY)
    assert verdict.set["reason"] is Reason.DEADLINE_PASSED
    assert FollowUp.LATE_FETCH in verdict.follow_ups


def test_a_late_poll_reads_every_shape_too() -> None:
    """Late fetching is the last chance of a paid video."""
    job = a_job(State.EXPIRED, finished_at=NOW - 60, reason=Reason.DEADLINE_PASSED)
    assert after_late_poll(job, ODD, now=NOW, policy=POLICY) == VIDEO
    again = after_late_poll(job, EMPTY, now=NOW, policy=POLICY)
    refused = after_late_poll(job, GenerationFailed("no", Charged.UNKNOWN), now=NOW, policy=POLICY)

    assert isinstance(again, Move)
    assert (again.event, again.due_in_s) == ("job.late_fetch_waits", 60)
    assert isinstance(refused, Move)
    assert (refused.event, refused.set) == ("job.late_fetch_ended", {"charged": Charged.UNKNOWN})


def test_a_throttled_poll_waits_as_long_as_the_upstream_asks() -> None:
    """The poll also waits at least the usual interval."""
    job = a_job()
    asked = after_poll(job, NoResult(Hold.THROTTLED, "429", 40), now=NOW, policy=POLICY)
    hardly = after_poll(job, NoResult(Hold.THROTTLED, "429", 1), now=NOW, policy=POLICY)

    assert asked == polled(job, "throttled: 429", wait_s=40)
    assert hardly == polled(job, "throttled: 429", wait_s=10)


@pytest.mark.parametrize(("timeouts", "timeout_s"), [(0, 2), (1, 4), (2, 8), (3, 16), (4, 30), (5, 30), (9999, 30)])
def test_the_time_out_doubles_up_to_the_longest(timeouts: int, timeout_s: float) -> None:
    """A slow upstream is answered after a few tries, and a stuck one is never waited for longer."""
    assert poll_timeout_s(a_job(poll_timeouts=timeouts), longest_s=30) == timeout_s


def test_no_time_out_is_longer_than_the_deployment_allows() -> None:
    """Its own bound may be shorter than the usual first one."""
    assert poll_timeout_s(a_job(), longest_s=FIRST_TIMEOUT_S / 2) == FIRST_TIMEOUT_S / 2


def test_a_poll_that_timed_out_is_made_again_at_once_with_more_time() -> None:
    """The time-out itself was a wait."""
    move = after_poll(a_job(poll_timeouts=1), TIMED_OUT, now=NOW, policy=POLICY)

    assert (move.event, move.due_in_s, move.clear) == ("job.polled", 0, ())
    assert {*move.bump} == {"polls", "poll_timeouts"}


@pytest.mark.parametrize("seen", [Pending("generating"), ODD, Finished(VIDEO)])
def test_an_answer_resets_the_count_of_time_outs(seen: PollResult) -> None:
    """The next poll has a short time-out again; where there was no time-out, nothing is written."""
    after_some = after_poll(a_job(poll_timeouts=3), seen, now=NOW, policy=POLICY)
    after_none = after_poll(a_job(), seen, now=NOW, policy=POLICY)

    assert [*after_some.clear] == ["poll_timeouts"]
    assert "poll_timeouts" not in {*after_some.bump, *after_none.clear, *after_none.bump}


def test_a_poll_without_an_answer_leaves_the_count_of_time_outs_as_it_is() -> None:
    """An open breaker's word stands for a poll that was not made: a slow upstream would never be given time enough."""
    job = a_job(poll_timeouts=3)
    again = polled(job, "unreachable: no answer", wait_s=10)
    seen = NoResult(Hold.UNREACHABLE, "no answer", 5)
    assert after_poll(job, seen, now=NOW, policy=POLICY) == replace(again, queue=SLOW_POLLS)


@pytest.mark.parametrize(
    ("timeouts", "seen", "queue"),
    [
        (0, TIMED_OUT, SLOW_POLLS),
        (3, TIMED_OUT, SLOW_POLLS),
        (3, NoResult(Hold.UNREACHABLE, "no answer"), SLOW_POLLS),
        (0, NoResult(Hold.UNREACHABLE, "no answer"), None),
        (3, Pending("generating"), None),
        (3, Finished(VIDEO), None),
    ],
)
def test_a_slow_poll_waits_in_a_queue_of_its_own_until_it_is_answered(
    timeouts: int, seen: PollResult, queue: str | None
) -> None:
    """It must not keep a batch of quick polls waiting."""
    assert after_poll(a_job(poll_timeouts=timeouts), seen, now=NOW, policy=POLICY).queue == queue


def test_a_slow_poll_ends_with_its_job() -> None:
    """At the deadline nothing is due any more, in no queue."""
    late = after_poll(a_job(poll_timeouts=3, deadline_at=NOW), TIMED_OUT, now=NOW, policy=POLICY)
    assert (late.to, late.queue) == (State.EXPIRED, None)


def test_fetched_bytes_complete_the_job() -> None:
    """A job that has its bytes ends here; whether it is described is the deployment's choice."""
    move = after_download(a_job(State.STORING), Fetched(STORED), now=NOW, policy=POLICY)
    assert move == completed(STORED, None, took_s=60.0, policy=POLICY)
    assert move.follow_ups == {}

    describing = after_download(a_job(State.STORING), Fetched(STORED), now=NOW, policy=replace(POLICY, describe=True))
    assert describing.follow_ups == {FollowUp.DESCRIBE: 0}


@pytest.mark.parametrize(("downloads", "wait"), [(0, 2), (3, 16), (4999, 300)])
def test_a_failed_download_is_tried_again(downloads: int, wait: float) -> None:
    """The download is repeated, never the generation."""
    verdict = after_download(a_job(State.STORING, downloads=downloads), NotFetched("reset"), now=NOW, policy=POLICY)
    assert verdict == store_failed("reset", wait_s=wait, fresh_url=False)


def test_a_url_that_has_gone_is_asked_for_anew() -> None:
    """The next poll may hand out a fresh one."""
    move = after_download(a_job(State.STORING), Gone("403"), now=NOW, policy=POLICY)
    assert move == store_failed("403", wait_s=2, fresh_url=True)


@pytest.mark.parametrize(("downloads", "wait"), [(2, 8), (5, 64), (299, 300)])
def test_a_url_that_failed_three_times_is_asked_for_anew(downloads: int, wait: float) -> None:
    """Its host may be gone for good, and the upstream know another."""
    storing = a_job(State.STORING, downloads=downloads)
    move = after_download(storing, NotFetched("reset"), now=NOW, policy=POLICY)
    assert move == store_failed("reset", wait_s=wait, fresh_url=True)


@pytest.mark.parametrize("downloads", range(9))
def test_an_archive_that_takes_nothing_is_no_reason_to_ask_for_another_url(downloads: int) -> None:
    """The same bytes will fit when there is room."""
    storing = a_job(State.STORING, downloads=downloads)
    assert after_download(storing, ArchiveUnavailable("full"), now=NOW, policy=POLICY).to is State.STORING


@pytest.mark.parametrize("download", [Gone("404"), NotFetched("reset"), ArchiveUnavailable("full")])
def test_a_video_that_can_never_be_fetched_ends_as_charged(download: Download) -> None:
    """Patience is long, but it ends; the money is gone and the job says so."""
    verdict = after_download(a_job(State.STORING, rendered_at=NOW - 86400), download, now=NOW, policy=POLICY)

    assert outcome(verdict) == (State.FAILED, Reason.NOT_STORED, Charged.YES)


@pytest.mark.parametrize("seen", [Pending("generating"), NoResult(Hold.UNAVAILABLE, "524"), TIMED_OUT, EMPTY])
def test_a_video_that_was_seen_once_outlives_the_deadline(seen: PollResult) -> None:
    """The deadline bounds the generation; a fresh URL is asked for as long as the download is tried."""
    recent = a_job(deadline_at=NOW - 50, rendered_at=NOW - 100)
    assert after_poll(recent, seen, now=NOW, policy=POLICY).event == "job.polled"

    for_a_day = a_job(deadline_at=NOW - 50, rendered_at=NOW - 86400)
    verdict = after_poll(for_a_day, seen, now=NOW, policy=POLICY)
    assert outcome(verdict) == (State.FAILED, Reason.NOT_STORED, Charged.YES)


def test_an_upstream_that_disowns_a_rendered_video_was_paid_all_the_same() -> None:
    """It said that the video was done; that it has expired since does not give the money back."""
    verdict = after_poll(a_job(rendered_at=NOW - 100), GenerationFailed("expired"), now=NOW, policy=POLICY)
    assert verdict == ended(State.FAILED, Reason.NOT_STORED, "expired", Charged.YES)


@pytest.mark.parametrize("state", State)
def test_cancelling_is_honest(state: State) -> None:
    """Free before the purchase, noted during it, charged after it, nothing once it is over."""
    move = on_cancel(a_job(state))

    match state:
        case State.QUEUED:
            assert outcome(move) == (State.CANCELLED, Reason.CANCELLED, Charged.NO)
        case State.SUBMITTING | State.IN_DOUBT:
            assert move is not None
            assert (move.event, move.to) == ("job.cancel_requested", None)
        case State.RENDERING | State.STORING:
            assert outcome(move) == (State.CANCELLED, Reason.CANCELLED, Charged.YES)
        case _:
            assert move is None


@pytest.mark.parametrize("state", [State.RENDERING, State.STORING])
def test_a_cancel_that_was_requested_during_the_purchase_is_granted_after_it(state: State) -> None:
    """The next step looks for it before it polls or downloads."""
    assert if_cancelled(a_job(state), keep=False) is None

    granted = if_cancelled(a_job(state, cancel_requested_at=NOW - 1), keep=False)
    assert outcome(granted) == (State.CANCELLED, Reason.CANCELLED, Charged.YES)


@pytest.mark.parametrize(("keep", "follow_ups"), [(False, {}), (True, {FollowUp.LATE_FETCH: 0})])
def test_a_video_of_a_cancelled_job_is_fetched_if_the_deployment_keeps_it(
    keep: bool, follow_ups: dict[FollowUp, float]
) -> None:
    """It is paid for; without a generation there is nothing to fetch."""
    bought = on_cancel(a_job(generation_id="gen-1"), keep=keep)
    assert bought is not None
    assert bought.follow_ups == follow_ups
    unknown = on_cancel(a_job(), keep=keep)
    assert unknown is not None
    assert unknown.follow_ups == {}


LATE: Final = Accepted("gen-late", 3.36)


@pytest.mark.parametrize("state", State)
def test_a_receipt_that_its_job_knows_already_changes_nothing(state: State) -> None:
    """The upstream's log showed it before the receipt came."""
    job = a_job(state, generation_id="gen-late")
    assert after_late_receipt(job, LATE, policy=POLICY) is None


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("generation_id", [None, "gen-other"])
def test_a_receipt_of_a_job_that_has_moved_on_is_never_dropped(state: State, generation_id: str | None) -> None:
    """A job that buys nothing else takes it; beside another purchase it becomes a job of its own."""
    job = a_job(state, generation_id=generation_id)
    decided = after_late_receipt(job, LATE, policy=POLICY)

    if state is State.QUEUED:
        assert decided == adopted_late(job, LATE, first_poll_s=30)
    elif state.is_final and generation_id is None:
        assert decided == bought_late(job, LATE, policy=POLICY)
    else:
        assert decided == BoughtTwice()


@pytest.mark.parametrize(
    ("state", "keep", "is_fetched"),
    [
        (State.CANCELLED, False, False),
        (State.CANCELLED, True, True),
        (State.FAILED, False, True),
        (State.EXPIRED, False, True),
    ],
)
def test_what_was_bought_for_an_ended_job_is_fetched_unless_nobody_wants_it(
    state: State, keep: bool, is_fetched: bool
) -> None:
    """It is charged either way, and the row says so."""
    move = bought_late(a_job(state), LATE, policy=replace(POLICY, keep_cancelled=keep))
    assert move.set == {"generation_id": "gen-late", "charged": Charged.YES, "cost_usd": 3.36}
    assert (FollowUp.LATE_FETCH in move.follow_ups) is is_fetched


def test_after_a_doubt_that_led_to_another_purchase_nobody_says_that_nothing_was_bought() -> None:
    """The first purchase may have happened, whatever becomes of the second."""
    again = resubmitted(a_job(State.IN_DOUBT), by="a person", queue_ttl_s=60)
    assert (again.set["charged"], again.bump) == (Charged.UNKNOWN, ["doubts"])

    waiting = a_job(State.QUEUED, doubts=1, deadline_at=NOW)
    buying = a_job(State.SUBMITTING, doubts=1)
    ends = [
        before_submit(waiting, now=NOW),
        on_cancel(waiting),
        after_submit(buying, Rejected("no"), policy=POLICY),
        after_submit(buying, NotBought(Hold.THROTTLED, "slow"), policy=POLICY),
    ]

    assert {move.set["charged"] for move in ends if move} == {Charged.UNKNOWN}
    assert not any("nothing was bought" in move.set["message"] for move in ends if move)
