"""Flower: a search for a job's id finds the tasks that worked on it, and their results say what they did."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from tests.ops.test_flower import a_flower
from tests.stage import ROOT, Stage, a_request, eventually

PASSWORD: Final = ("ann", "secret")
"""Without one, Flower's API answers nobody."""

STEPS: Final = {
    "rushes.submit": "job.submitted",
    "rushes.poll": "job.rendered",
    "rushes.store": "job.completed",
    "rushes.deliver": "delivery.succeeded",
}
"""The tasks that work on an undisturbed job, and an event that each leads to."""


def test_a_search_for_a_job_finds_the_tasks_that_worked_on_it_and_what_they_did(stage: Stage, tmp_path: Path) -> None:
    """A wake-up serves a whole queue, so that only a task's result names all jobs that it worked on."""
    (tmp_path / "hooks_of_ours.py").write_text("def quick(result):\n    pass\n")
    hooks = {"RUSHES_HOOKS__CALL": "hooks_of_ours:quick", "PYTHONPATH": str(tmp_path)}
    password = {"RUSHES_FLOWER__BASIC_AUTH": ":".join(PASSWORD)}
    around = stage.environment | password
    with a_flower(tmp_path, stage.redis_url, around=around) as url, stage.worker(threads=4, **hooks):
        ids = [stage.service.submit(a_request(f"clip {n}")).job_id for n in range(10)]
        for job_id in ids:
            stage.ended(job_id)
        for job_id in ids:
            eventually(lambda job_id=job_id: _steps(url, job_id) == STEPS, what=f"the tasks of {job_id}")  # type: ignore[misc]  # a lambda's default


def _steps(url: str, job_id: str) -> Mapping[str, str]:
    """The steps that the results of the found tasks name together with the job."""
    return {task["name"]: event for task in _found(url, job_id) for event in _events(task["result"], job_id)}


def _events(result: str, job_id: str) -> list[str]:
    """The events of the job in a task's result, of those that we look for; it is "event: job job; event: job"."""
    parts = (part.partition(": ") for part in result.strip("'").split("; "))
    return [event for event, _, ids in parts if job_id in ids.split() and event in STEPS.values()]


def _found(url: str, job_id: str) -> list[Mapping[str, Any]]:
    answer = requests.get(f"{url}/api/tasks", params={"search": job_id}, auth=PASSWORD, timeout=10)
    answer.raise_for_status()
    return [task for task in answer.json().values() if task["state"] == "SUCCESS"]


FLOWER_PAGE: Final = (ROOT / "docs/reference/flower.md").read_text()
BUTTONS: Final[Mapping[str, str]] = {
    "worker/shutdown/one@test": "Shutting down!",
    "worker/pool/restart/one@test": "Unknown reason",
    "worker/pool/grow/one@test?n=3": "Unknown reason",
    f"worker/pool/shrink/one@test?n=1{'0' * 120}": "Unknown reason",
    f"worker/pool/autoscale/one@test?min=1&max=9{'0' * 180}": "Unknown reason",
    f"worker/queue/add-consumer/one@test?queue={'x' * 240}": "Unknown reason",
    "worker/queue/cancel-consumer/one@test?queue=transfer": "Unknown reason",
    "task/rate-limit/rushes.poll?workername=one@test&ratelimit=1/h": "Unknown reason",
    "task/timeout/rushes.poll?workername=one@test&hard=1&soft=1": "Unknown reason",
    "task/revoke/{task}?terminate=true": "Revoked",
}
"""Flower's buttons by the calls that they make, each with what Flower says.

Equal refusals are logged once a minute, and a refusal names the message's size: none has another's.
"""


@pytest.mark.timeout(240)
def test_flower_shows_and_does_what_its_page_in_the_documents_says(stage: Stage, tmp_path: Path) -> None:
    """An operator who presses a button at night must know that nothing happened."""
    around = stage.environment | {"RUSHES_FLOWER__BASIC_AUTH": ":".join(PASSWORD)}
    with a_flower(tmp_path, stage.redis_url, around=around) as url, stage.worker(threads=4) as worker:
        first = stage.service.submit(a_request("clip")).job_id
        stage.ended(first)
        eventually(lambda: _found(url, first), what="the tasks")
        before = _worker(url)
        (task, *_) = requests.get(f"{url}/api/tasks", auth=PASSWORD, timeout=10).json()

        for call, says in BUTTONS.items():
            said = requests.post(f"{url}/api/{call.format(task=task)}", auth=PASSWORD, timeout=30).text
            assert says in said, call
            assert f"*{says}*" in FLOWER_PAGE

        assert worker.process.poll() is None
        assert _worker(url) == before == (4, {"submit", "poll", "transfer", "notify"})
        eventually(
            lambda: worker.said().count("message.unreadable") == len(BUTTONS), what="the refusal of every button"
        )
        result = requests.get(f"{url}/api/task/result/{task}", auth=PASSWORD, timeout=10)
        assert result.status_code == 503
        metrics = requests.get(f"{url}/metrics", timeout=10).text  # without a password
        named = set(re.findall(r"`(flower_\w+)`", FLOWER_PAGE))
        assert named
        assert all(f"# TYPE {name.removesuffix('_total')}" in metrics for name in named), named
        broker = requests.get(f"{url}/api/queues/length", auth=PASSWORD, timeout=20).json()["active_queues"]
        assert {queue["name"] for queue in broker} == {"submit", "poll", "transfer", "notify"}
        assert stage.ended(stage.service.submit(a_request("clip")).job_id).stored is not None


def _worker(url: str) -> tuple[int, set[str]]:
    """Ask the worker for its threads, and the queues that it serves."""
    answer = requests.get(f"{url}/api/workers", params={"refresh": "1"}, auth=PASSWORD, timeout=30).json()["one@test"]
    return answer["stats"]["pool"]["max-concurrency"], {queue["name"] for queue in answer["active_queues"]}
