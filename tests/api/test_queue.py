"""`/v1/queue`: an administrator pauses buying, everybody sees why a job waits."""

from tests.api.conftest import Api
from tests.stage import eventually


def test_a_pause_is_shown_by_the_queue_by_each_job_and_by_readyz(api: Api) -> None:
    """A person who asks why nothing happens reads the reason."""
    assert api.get("/v1/queue").json() == {"object": "queue", "paused": None}

    pause = api.post("/v1/queue/pause", {"reason": "the budget is used up"}).json()["paused"]

    assert (pause["by"], pause["reason"]) == ("the operator", "the budget is used up")
    assert api.get("/v1/queue").json()["paused"] == pause
    job = api.submit()
    words = "paused by the operator: the budget is used up"
    eventually(lambda: words in (api.get(f"/v1/videos/{job['id']}").json()["waiting"] or ""), within_s=10)
    assert api.get("/readyz").json()["paused"] is True

    assert api.post("/v1/queue/resume").json() == {"object": "queue", "paused": None}
    assert api.get("/readyz").json()["paused"] is False


def test_a_reason_is_bounded(api: Api) -> None:
    """It is shown with each of ten thousand jobs."""
    answer = api.post("/v1/queue/pause", {"reason": "x" * 301})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
