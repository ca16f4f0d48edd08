"""A request with a picture in base64, whose bytes wait in the archive, with real workers."""

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from jobs.job import Charged, Hold, Reason, VideoRequest
from jobs.states import State
from tests.stage import Stage, eventually
from tests.worker.servers import ReceivedRequest, Server, answer

PICTURE: Final = f"data:image/png;base64,{b64encode(bytes(range(256)) * 4000).decode()}"
LARGE: Final = VideoRequest("somebody/else", "a boat", {"seed": 7, "image_url": PICTURE, "tail": [1.5, "é"]})
RECEIPT: Final = b'{"id":"gen-1","status":"queued"}'


@pytest.fixture
def upstream(stage: Stage) -> Iterator[Server]:
    """An upstream that keeps what it receives."""
    with Server.started() as server:
        server.on(answer(RECEIPT, status="201 Created"))
        stage.environment |= {"RUSHES_UPSTREAM__BASE_URL": server.url}
        yield server


def input_of(stage: Stage, job_id: str) -> Path:
    """The file of a job's input."""
    kept = stage.ledger.request(job_id).input
    assert kept is not None
    return stage.settings.archive_dir / "inputs" / kept.name


def purchases(upstream: Server) -> list[ReceivedRequest]:
    """What was bought."""
    return [each for each in upstream.received if each.method == "POST"]


def test_the_upstream_receives_every_byte(stage: Stage, upstream: Server) -> None:
    """As if the request had never been apart."""
    job_id = stage.service.submit(LARGE).job_id

    with stage.worker():
        eventually(lambda: stage.ledger.get(job_id).state is State.RENDERING, what="the purchase")

    (bought,) = purchases(upstream)
    assert json.loads(bought.body) == LARGE.body()


def test_a_job_whose_input_is_gone_fails_before_it_costs_anything(stage: Stage, upstream: Server) -> None:
    """It says why, and what to do; a retry of it fails in the same way."""
    job_id = stage.service.submit(LARGE).job_id
    input_of(stage, job_id).unlink()

    with stage.worker():
        job = stage.ended(job_id)
        again = stage.ended(stage.service.retry(job_id, pay_again=True).job_id or "")

    for failed in (job, again):
        assert (failed.state, failed.reason, failed.charged) == (State.FAILED, Reason.INPUT_GONE, Charged.NO)
        assert "submit it again" in str(failed.message)
    assert purchases(upstream) == []


def test_a_failed_job_is_retried_with_its_picture(stage: Stage, upstream: Server) -> None:
    """Its input is kept for that."""
    upstream.on(answer(b'{"message":"no"}', status="400 Bad Request"))
    job_id = stage.service.submit(LARGE).job_id
    with stage.worker():
        assert stage.ended(job_id).state is State.FAILED
        upstream.on(answer(RECEIPT, status="201 Created"))
        again = stage.service.retry(job_id, pay_again=True).job_id or ""
        eventually(lambda: stage.ledger.get(again).state is State.RENDERING, what="the second purchase")

    assert [json.loads(bought.body) for bought in purchases(upstream)] == [LARGE.body()] * 2


def test_an_archive_that_cannot_be_read_delays_the_purchase(stage: Stage, upstream: Server) -> None:
    """It may be away for a while; the job says so, and is bought when it is back."""
    job_id = stage.service.submit(LARGE).job_id
    kept = input_of(stage, job_id)
    moved = kept.rename(kept.with_name("moved"))
    kept.symlink_to(kept)

    with stage.worker():
        eventually(lambda: stage.ledger.get(job_id).hold is Hold.ARCHIVE, what="the hold")
        assert purchases(upstream) == []
        moved.replace(kept)
        eventually(lambda: stage.ledger.get(job_id).state is State.RENDERING, what="the purchase")


def test_erasing_a_job_removes_its_picture_at_once(stage: Stage) -> None:
    """Nobody waits for a worker's sweep."""
    job_id = stage.service.submit(LARGE).job_id
    kept = input_of(stage, job_id)
    stage.service.cancel(job_id)

    stage.service.erase(job_id)

    assert not kept.exists()
    assert stage.client.hgetall("rushes:inputs") == {}
