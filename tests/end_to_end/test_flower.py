"""Flower: a search for a job's id finds the tasks that worked on it, and their results say what they did."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import requests

from tests.ops.test_flower import a_flower
from tests.stage import Stage, a_request, eventually

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
