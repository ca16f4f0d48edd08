"""What a worker logs of a healthy job: little, and what machines read is documented."""

import json
import re
from typing import Any, Final

from jobs.ledger import Ledger
from tests.stage import ROOT, Stage, a_request, eventually

MIGRATION: Final = "alembic.runtime.migration"
"""Logs that the first job of a new database makes its tables."""

PAGE: Final = (ROOT / "docs/reference/events.md").read_text().partition("## In the workers' log")[2]


def test_a_healthy_job_writes_a_handful_of_lines(stage: Stage) -> None:
    """With everything on, at a hundred thousand jobs a day, the log is still read."""
    on = ("DESCRIBE__PROBE", "DESCRIBE__MANIFEST", "DESCRIBE__PREVIEWS", "SQL__ENABLED")
    stage.environment |= {f"RUSHES_{name}": "true" for name in on} | {"RUSHES_LOG__FORMAT": "json"}
    with stage.worker() as worker:
        job_id = stage.service.submit(a_request(duration=4)).job_id
        eventually(lambda: {"job.described", "delivery.succeeded"} <= {*_events(worker.said())}, what="the last lines")

    lines = _lines(worker.said())
    about = [line for line in lines if line.get("job") == job_id and line["logger"] != MIGRATION]
    assert sorted(_events(worker.said())) == sorted(
        re.findall(r"`((?:job|delivery)\.\w+)`", PAGE.partition("Polls")[0])
    )
    assert [line["logger"] for line in about] == ["rushes.events"] * len(about)
    of_a_job = {"at", "level", "logger", "message", "event", "job", "turn", "account", "worker", "request_id"}
    assert all(of_a_job <= line.keys() for line in about)
    assert all(f"`{name}`" in PAGE for name in of_a_job)
    job = Ledger(stage.client).get(job_id)
    assert {(line["account"], line["request_id"]) for line in about} == {(job.account, job.request_id)}
    assert all({"at", "level", "logger", "message"} <= line.keys() for line in lines)
    assert not [line for line in lines if line["logger"] == "alembic.runtime.plugins"]


def _lines(said: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def _events(said: str) -> list[str]:
    return [line["event"] for line in _lines(said) if "event" in line]
