"""What a worker logs of a healthy job: little, and what machines read is documented."""

import json
import re
from typing import Any, Final

from tests.stage import ROOT, Stage, a_request, eventually

PAGE: Final = (ROOT / "docs/reference/events.md").read_text().partition("## In the workers' log")[2]


def test_a_healthy_job_writes_a_handful_of_lines(stage: Stage) -> None:
    """With everything on, at a hundred thousand jobs a day, the log is still read."""
    on = ("DESCRIBE__PROBE", "DESCRIBE__MANIFEST", "DESCRIBE__PREVIEWS", "SQL__ENABLED")
    stage.environment |= {f"RUSHES_{name}": "true" for name in on} | {"RUSHES_LOG__FORMAT": "json"}
    with stage.worker() as worker:
        job_id = stage.service.submit(a_request(duration=4)).job_id
        eventually(lambda: {"job.described", "delivery.succeeded"} <= {*_events(worker.said())}, what="the last lines")

    lines = _lines(worker.said())
    about = [line for line in lines if line.get("job") == job_id]
    assert sorted(_events(worker.said())) == sorted(
        re.findall(r"`((?:job|delivery)\.\w+)`", PAGE.partition("Polls")[0])
    )
    assert [line["logger"] for line in about] == ["rushes.events"] * len(about)
    assert all({"at", "level", "logger", "message", "event", "job", "turn"} <= line.keys() for line in about)
    assert all({"at", "level", "logger", "message"} <= line.keys() for line in lines)
    assert not [line for line in lines if line["logger"] == "alembic.runtime.plugins"]


def _lines(said: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def _events(said: str) -> list[str]:
    return [line["event"] for line in _lines(said) if "event" in line]
