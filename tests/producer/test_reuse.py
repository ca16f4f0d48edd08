"""Reuse: which video answers which order, and until when."""

from dataclasses import replace
from typing import Any

import pytest
import redis

from jobs.errors import IdempotencyConflict
from jobs.job import Charged, Reason, Terms, VideoRequest
from jobs.ledger import Ledger
from jobs.states import State, Status
from producer.reuse import Reused, digest_of
from tests import steps
from tests.conftest import immortal_keys
from tests.stage import a_request, reuse_of

ORDER = a_request("a paper boat", seed=7, duration=8)


def completed(ledger: Ledger, order: VideoRequest = ORDER, *, name: str = "one", tenant: str | None = None) -> str:
    """A job that has its video, and was accepted as one that identical requests may find."""
    digest = digest_of(order, tenant)
    terms = Terms(job_id=f"job_{name}", deadline_s=60, tenant=tenant, reuse_digest=digest)
    return steps.job_in(ledger, State.COMPLETED, order, terms).id


def found(ledger: Ledger, order: VideoRequest = ORDER, *, tenant: str | None = None, key: str | None = None) -> Any:
    """What answers an order."""
    return reuse_of(ledger._redis).find(order, tenant=tenant, idempotency_key=key, idempotency_life_s=None)


def test_an_identical_order_is_answered_by_the_kept_video(ledger: Ledger) -> None:
    """Labels, and where its end is told, are not part of what is rendered."""
    assert found(ledger) is None
    job_id = completed(ledger)
    labelled = VideoRequest(ORDER.model, ORDER.prompt, ORDER.parameters, {"a": "b"}, "https://a.example")

    assert found(ledger) == found(ledger, labelled) == Reused(job_id, replayed=False)


@pytest.mark.parametrize(
    "other",
    [
        a_request("a paper boat", seed=8, duration=8),
        a_request("a paper boat", seed=7),
        a_request("a paper boat.", seed=7, duration=8),
        a_request("a paper boat", seed=7, duration=8, image_url="https://a.example/1.png"),
        VideoRequest("google/veo-3.0-fast", ORDER.prompt, ORDER.parameters),
    ],
)
def test_what_differs_in_anything_is_another_order(ledger: Ledger, other: VideoRequest) -> None:
    """Model, prompt, every parameter, the picture."""
    completed(ledger)
    assert found(ledger, other) is None


def test_a_tenants_video_answers_no_other_tenant(ledger: Ledger) -> None:
    """Not even the operator, who has none."""
    job_id = completed(ledger, tenant="shop")

    assert found(ledger, tenant="shop") == Reused(job_id, replayed=False)
    assert found(ledger, tenant="gym") is found(ledger) is None


def test_a_video_that_is_not_kept_any_more_answers_nothing(ledger: Ledger, client: "redis.Redis") -> None:
    """Removed by retention, erased on request, or its row's time is over; and the index forgets it."""
    ledger.prune(completed(ledger, name="pruned"), Status.COMPLETED, why="age", size_bytes=3)
    assert found(ledger) is None
    ledger.erase(ledger.get(completed(ledger, name="erased")))
    assert found(ledger) is None
    client.delete(f"rushes:job:{completed(ledger, name='gone')}")
    assert found(ledger) is None
    assert not client.keys("rushes:reuse:*")


def test_only_a_completed_job_is_found(ledger: Ledger, client: "redis.Redis") -> None:
    """One that goes on, or ended without its video, has nothing to hand out."""
    ledger.accept(ORDER, Terms(job_id="job_1", deadline_s=60, reuse_digest=digest_of(ORDER, None)))
    assert found(ledger) is None
    verdict = steps.ended(State.CANCELLED, Reason.CANCELLED, "called off", Charged.NO)
    steps.end(ledger, ledger.get("job_1"), verdict)

    assert found(ledger) is None
    assert not client.keys("rushes:reuse:*")


def test_erasing_leaves_anothers_video(ledger: Ledger) -> None:
    """The newest of identical requests answers; erasing an older one changes nothing."""
    old, new = completed(ledger, name="old"), completed(ledger, name="new")
    ledger.erase(ledger.get(old))
    assert found(ledger) == Reused(new, replayed=False)

    ledger.erase(ledger.get(new))
    assert found(ledger) is None


def test_a_key_stands_for_the_answer_it_was_given(ledger: Ledger, client: "redis.Redis") -> None:
    """The same request with the same key never buys what it was once given free, whatever became of the video."""
    job_id = completed(ledger)
    assert found(ledger, key="k1") == Reused(job_id, replayed=False)
    ledger.erase(ledger.get(job_id))

    assert found(ledger, key="k1") == Reused(job_id, replayed=True)
    again = ledger.accept(ORDER, Terms(job_id="job_2", deadline_s=60, idempotency_key="k1"))
    assert (again.job_id, again.replayed) == (job_id, True)
    other = a_request("another", seed=7)
    assert found(ledger, other, key="k1") is None
    with pytest.raises(IdempotencyConflict):
        ledger.accept(other, Terms(job_id="job_3", deadline_s=60, idempotency_key="k1"))
    assert immortal_keys(client) == []


def test_a_key_that_made_a_job_of_its_own_is_left_to_it(ledger: Ledger) -> None:
    """It is replayed as ever, also when a video of the same order is kept meanwhile."""
    mine = ledger.accept(ORDER, Terms(job_id="job_mine", deadline_s=60, idempotency_key="k1")).job_id
    completed(ledger, name="another")

    assert found(ledger, key="k1") is None
    assert ledger.accept(ORDER, Terms(job_id="job_x", deadline_s=60, idempotency_key="k1")).job_id == mine


def test_what_is_expected_of_the_video_makes_no_other_order(ledger: Ledger) -> None:
    """Defaults that are worked out at acceptance are not part of what the upstream is sent."""
    job_id = completed(ledger, replace(ORDER, expected={"resolution": "720P"}))
    assert found(ledger) == Reused(job_id, replayed=False)


def test_the_index_holds_no_prompt() -> None:
    """A digest of it, by which nothing can be read back."""
    assert digest_of(ORDER, None) == digest_of(ORDER, None) != digest_of(ORDER, "shop")
    assert len(digest_of(ORDER, None)) == 64
