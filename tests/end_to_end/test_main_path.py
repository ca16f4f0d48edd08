"""A deployment in small: worker process, sandbox process, Redis; what must hold from end to end."""

import json
import sys
from pathlib import Path

import av
import pytest

from jobs.job import Charged, Reason, Terms
from jobs.states import State
from producer.receivers import make_receivers
from tests.stage import SANDBOX_KEY, Stage, a_request, eventually

FEW_HUNDRED = 300


@pytest.mark.long
@pytest.mark.timeout(300)
def test_one_thread_carries_hundreds_of_jobs_in_flight(stage: Stage) -> None:
    """No slot sleeps: a job in flight is a countdown, not a thread."""
    stage.sandbox.add_fault(submit="no_meta", times=1)
    job_ids = [stage.service.submit(a_request(f"clip {n} [sandbox: latency=4000]")).job_id for n in range(FEW_HUNDRED)]

    seldom = {"RUSHES_POLL__SCHEDULE": "fixed", "RUSHES_POLL__FIRST_S": "20", "RUSHES_POLL__INTERVAL_S": "5"}
    with stage.worker(threads=1, **seldom):
        eventually(lambda: stage.service.counts()[State.RENDERING] > FEW_HUNDRED // 2, within_s=110)
        eventually(
            lambda: stage.service.counts()[State.COMPLETED] == FEW_HUNDRED, within_s=110, what="the end of all jobs"
        )

    assert stage.sandbox.purchases() == dict.fromkeys(job_ids, 1)


def test_an_i2v_request_and_a_strangers_model_pass_through(stage: Stage) -> None:
    """Other vendors' parameters are the upstream's business."""
    still = a_request("it moves", image_url="https://example.com/still.png")
    with stage.worker():
        image = stage.service.submit(type(still)("google/veo-3.0-i2v", still.prompt, still.parameters))
        other = stage.service.submit(type(still)("kling/v9", "a cat", {"cfg_scale": 0.5, "mode": "pro"}))

        assert stage.ended(image.job_id).state is State.COMPLETED
        assert stage.ended(other.job_id).state is State.COMPLETED


def test_the_older_endpoints_work_the_whole_way(stage: Stage) -> None:
    """A job is polled on the endpoints that it was submitted to."""
    stage.environment["RUSHES_UPSTREAM__FAMILY"] = "google"
    with stage.worker():
        job = stage.ended(stage.service.submit(a_request()).job_id)

    assert (job.state, job.family) == (State.COMPLETED, "google")


@pytest.mark.parametrize(
    "trouble",
    ["poll=524 times=3", "poll=malformed times=2", "poll=word times=2", "poll=array", "poll=429 retry_after=1 times=1"],
)
def test_trouble_while_polling_delays_and_never_fails(stage: Stage, trouble: str) -> None:
    """Only the deadline or the upstream's own refusal ends a job."""
    with stage.worker():
        job = stage.ended(stage.service.submit(a_request(f"clip [sandbox: {trouble}]")).job_id)
    assert job.state is State.COMPLETED


@pytest.mark.parametrize("shape", ["succeeded", "url_list", "url_text", "odd_success", "no_video times=2"])
def test_a_finished_video_is_stored_in_whatever_words_and_shape_it_comes(stage: Stage, shape: str) -> None:
    """Other models of the same endpoint say succeeded, and give a URL as text or in a list."""
    with stage.worker():
        job = stage.ended(stage.service.submit(a_request(f"clip [sandbox: poll={shape}]")).job_id)

    assert (job.state, job.charged, job.evidence) == (State.COMPLETED, Charged.YES, None)
    if shape == "odd_success":
        rendered = [entry for entry in stage.service.events(job.id) if entry.event == "job.rendered"]
        assert "3 polls in a row said 'published' with the same video" in rendered[0].data["note"]


@pytest.mark.parametrize(
    ("trouble", "reason", "message", "charged"),
    [
        ("submit=moderation", Reason.CONTENT_REFUSED, "Content policy violation", Charged.NO),
        ("poll=filtered", Reason.CONTENT_REFUSED, "blocked by the safety filter", Charged.UNKNOWN),
        ("poll=cancelled", Reason.GENERATION_FAILED, "cancelled by its vendor", Charged.NO),
        ("poll=no_video", Reason.GENERATION_FAILED, "neither a video nor a reason", Charged.UNKNOWN),
    ],
)
def test_an_end_without_a_video_ends_the_job_at_once_with_the_upstreams_reason(
    stage: Stage, trouble: str, reason: Reason, message: str, charged: Charged
) -> None:
    """Waiting for a video that never comes would cost a quarter of an hour, and the reason."""
    with stage.worker():
        job = stage.ended(stage.service.submit(a_request(f"clip [sandbox: {trouble}]")).job_id, within_s=20)

    assert (job.state, job.reason, job.charged) == (State.FAILED, reason, charged)
    assert message in (job.message or "")


def test_a_url_whose_host_is_gone_is_asked_for_anew(stage: Stage) -> None:
    """A stack that was started again has its files behind another port; the upstream knows which."""
    with stage.worker():
        job_id = stage.service.submit(a_request("clip [sandbox: cdn=drop times=3]")).job_id
        job = stage.ended(job_id)

    events = [entry.event for entry in stage.service.events(job_id)]
    assert (job.state, events.count("job.store_failed"), events.count("job.rendered")) == (State.COMPLETED, 3, 2)


@pytest.mark.parametrize(
    "trouble", ["truncated times=2", "html times=1", "reset times=1", "503 times=1", "expired times=1"]
)
def test_trouble_while_fetching_repeats_the_download_and_not_the_generation(stage: Stage, trouble: str) -> None:
    """It is paid for; a broken download is no reason to buy another."""
    with stage.worker():
        job = stage.ended(stage.service.submit(a_request(f"clip [sandbox: cdn={trouble}]")).job_id)

    assert (job.state, job.charged) == (State.COMPLETED, Charged.YES)
    assert job.downloads >= 1
    assert sum(stage.sandbox.purchases().values()) == 1


def test_a_reply_lost_after_the_purchase_is_never_bought_again(stage: Stage) -> None:
    """It may have been bought, and it was: the upstream's log shows it, and the job goes on with that generation."""
    with stage.worker():
        job_id = stage.service.submit(a_request("clip [sandbox: submit=drop]")).job_id
        job = stage.ended(job_id)

    assert (job.state, job.charged) == (State.COMPLETED, Charged.YES)
    assert {"job.in_doubt", "job.adopted"} <= {entry.event for entry in stage.service.events(job_id)}
    assert stage.sandbox.purchases() == {job_id: 1}


def test_a_generation_that_never_ends_expires_at_its_deadline(stage: Stage) -> None:
    """A stuck generation must not keep its job for ever."""
    with stage.worker():
        answer = stage.service.submit(a_request("clip [sandbox: stuck]"), Terms(deadline_s=1.5))
        job = stage.ended(answer.job_id)

    assert (job.state, job.reason) == (State.EXPIRED, Reason.DEADLINE_PASSED)


def test_a_key_that_is_refused_holds_the_jobs_until_it_is_mended(stage: Stage) -> None:
    """A wrong key is our mistake, not the job's."""
    with stage.worker(name="wrong", RUSHES_UPSTREAM__API_KEY="not-the-key"):
        job_id = stage.service.submit(a_request()).job_id
        eventually(lambda: stage.service.get(job_id).job.hold == "bad_key")

    with stage.worker(name="right", RUSHES_UPSTREAM__API_KEY=SANDBOX_KEY):
        assert stage.ended(job_id).state is State.COMPLETED


def test_the_video_plays_and_the_key_never_reached_the_cdn(stage: Stage) -> None:
    """A real decoder reads the real bytes."""
    with stage.worker():
        job = stage.ended(stage.service.submit(a_request(duration=4, resolution="720P")).job_id)

    assert job.stored is not None
    with av.open(stage.settings.archive_dir / job.stored.path) as film:
        assert film.streams.video[0].codec_context.name == "h264"
        assert next(film.decode(video=0)).width > 0
    assert stage.sandbox.requests()["key_leaks"] == 0


def test_hooks_receive_every_end_and_a_raising_one_again(stage: Stage, tmp_path: Path) -> None:
    """Each ended job is delivered at least once with its record; a hook that raises never delays the video."""
    (tmp_path / "deployment_hooks.py").write_text(
        """
import json, pathlib
HERE = pathlib.Path(__file__).parent

def write_down(result):
    with (HERE / "results.jsonl").open("a") as out:
        out.write(json.dumps(result.model_dump(), default=str) + "\\n")

def raise_twice(result):
    with (HERE / f"raised-{result.id}").open("a+") as count:
        count.write("x")
    if len((HERE / f"raised-{result.id}").read_text()) < 3:
        raise RuntimeError("not yet")
"""
    )
    hooks = "deployment_hooks:write_down, deployment_hooks:raise_twice"
    with stage.worker(RUSHES_HOOKS__CALL=hooks, PYTHONPATH=str(tmp_path)):
        done = stage.ended(stage.service.submit(a_request("a clip")).job_id)
        failed = stage.ended(stage.service.submit(a_request("clip [sandbox: error=face]")).job_id)
        for job in (done, failed):
            eventually(lambda job=job: [e.event for e in stage.service.events(job.id)].count("delivery.succeeded") == 2)  # type: ignore[misc]  # a lambda's default

    results = {line["id"]: line for line in map(json.loads, (tmp_path / "results.jsonl").read_text().splitlines())}
    assert results[done.id]["status"] == "completed"
    assert Path(results[done.id]["file"]).is_file()
    assert results[failed.id]["reason"] == "generation_failed"
    assert (tmp_path / f"raised-{done.id}").read_text() == "xxx"
    assert [e.event for e in stage.service.events(done.id)].count("delivery.failed") == 2


def test_a_hook_that_never_stops_raising_is_given_up_loudly(stage: Stage, tmp_path: Path) -> None:
    """An event and a log line report it, and the video is there all the same."""
    (tmp_path / "bad_hooks.py").write_text("def broken(result):\n    raise ValueError('never')\n")
    environment = {"RUSHES_HOOKS__CALL": "bad_hooks:broken", "RUSHES_HOOKS__ATTEMPTS": "2", "PYTHONPATH": str(tmp_path)}
    with stage.worker(threads=4, **environment) as worker:
        job = stage.ended(stage.service.submit(a_request()).job_id)
        eventually(lambda: stage.service.events(job.id)[-1].event == "delivery.abandoned")
        eventually(lambda: "delivery.abandoned" in worker.said())

    assert job.state is State.COMPLETED
    assert not make_receivers(stage.settings).waiting()


def test_a_worker_without_a_key_stops_with_a_sentence(stage: Stage) -> None:
    """It prints no traceback, and receives no messages that it cannot serve."""
    with (
        pytest.raises(AssertionError, match="RUSHES_UPSTREAM__API_KEY is not set"),
        stage.worker(RUSHES_UPSTREAM__API_KEY=""),
    ):
        pass


def test_the_key_is_in_no_log_and_no_event(stage: Stage) -> None:
    """The worker logs at debug level, through success and failure."""
    key = "sandbox-key-that-nobody-knows"
    with stage.worker(RUSHES_LOG__LEVEL="DEBUG", RUSHES_UPSTREAM__API_KEY=key) as worker:
        job_id = stage.service.submit(a_request()).job_id
        eventually(lambda: stage.service.get(job_id).job.hold)
        said = worker.said()

    assert key not in said
    assert not any(key in str(entry.data) for entry in stage.service.events(job_id))
    assert "Bearer" not in said


def test_flushing_the_broker_loses_no_job(stage: Stage) -> None:
    """Every key of Celery is deleted, with wake-ups in the queue and in the worker's hands."""
    with stage.worker(name="before"):
        job_ids = [stage.service.submit(a_request(f"clip {n} [sandbox: latency=200]")).job_id for n in range(30)]
        eventually(lambda: stage.service.counts()[State.RENDERING] > 10)
        for key in stage.client.scan_iter("rushes:celery:*"):
            stage.client.delete(key)

        assert {stage.ended(job_id).state for job_id in job_ids} == {State.COMPLETED}
    assert all(count == 1 for count in stage.sandbox.purchases().values())


def test_the_command_line_waits_and_copies(stage: Stage) -> None:
    """A newcomer types this first."""
    with stage.worker():
        done = stage.rushes("submit", "--wait", "-o", "clip.mp4", "a paper boat")

    assert done.returncode == 0, done.stderr
    assert (stage.folder / "clip.mp4").stat().st_size > 0
    assert sys.version_info >= (3, 11)
