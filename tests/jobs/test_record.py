"""One record of a job, from which all that is shown of it derives."""

import ast
import math
from inspect import getsource
from itertools import pairwise
from typing import Any, Final

import pytest
import redis

from jobs.errors import InvalidRequest
from jobs.job import Ended, Followed, Job, Shown, Terms, VideoRequest
from jobs.ledger import Ledger
from producer.views import job_view
from tests.jobs.test_row import VALUES
from tests.stage import a_request
from worker.describe.manifest import manifest
from worker.receivers.result import JobResult, result_of
from worker.sql.tables import videos
from worker.sql.writing import row_of

JOB: Final = Job(**VALUES, account="second")
REQUEST: Final = VideoRequest("google/veo3", "a paper boat")
SHOWN: Final[dict[str, tuple[type[Shown], dict[str, Any]]]] = {
    "API view": (Followed, job_view(JOB, REQUEST)),
    "hook result": (Ended, result_of(JOB, REQUEST, "/archive").model_dump()),
    "manifest": (Shown, manifest(JOB, REQUEST, [])),
    "SQL row": (Ended, row_of(result_of(JOB, REQUEST, "/archive"))),
}


@pytest.mark.parametrize(("fields", "record"), SHOWN.values(), ids=SHOWN)
def test_what_is_declared_once_is_shown(fields: type[Shown], record: dict[str, Any]) -> None:
    """A new field needs no second list."""
    assert set(fields.model_fields) <= set(record)
    assert (record["id"], record["account"], record["cost_usd"]) == ("job_1", "second", 3.36)


def test_a_manifest_names_no_tenant() -> None:
    """It lies beside the video and is handed on with it."""
    assert "tenant" not in manifest(JOB, REQUEST, [])


def test_every_field_has_a_meaning() -> None:
    """Its description, or the docstring below it where no API shows it, is where a reader finds the unit."""
    fields = {**Shown.model_fields, **Followed.model_fields}
    described = {name for name, field in fields.items() if field.description}
    for record in (Ended, Job):
        [body] = [node.body for node in ast.parse(getsource(record)).body if isinstance(node, ast.ClassDef)]
        described |= {
            field.target.id
            for field, below in pairwise(body)
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        }
    assert set(Job.model_fields) - described == set()


def test_every_field_of_a_result_has_a_column() -> None:
    """Where our copy is stands under two names of its own."""
    assert set(JobResult.model_fields) - {column.name for column in videos.c} == {"path", "location", "file"}


def test_the_account_of_its_terms_is_the_jobs(client: "redis.Redis") -> None:
    """The row, the accepted job and its first event agree."""
    ledger = Ledger(client)
    answer = ledger.accept(a_request(), Terms(account="second"))

    assert answer.job == ledger.get(answer.job_id)
    assert ledger.get(answer.job_id).account == "second"
    assert ledger.job_log.of(answer.job_id)[0].data == {"model": "google/veo3", "account": "second"}


@pytest.mark.parametrize("name", ["deadline_s", "idempotency_life_s", "due_in_s"])
@pytest.mark.parametrize("value", [1e12, math.inf, math.nan, -1, "60", pytest.param(10**5000, id="huge")])
def test_times_of_terms_are_bounded(name: str, value: Any) -> None:
    """In process and from the command line as over HTTP: each becomes a score, or the life of a key."""
    with pytest.raises(InvalidRequest, match=f"{name}: must be seconds, more than 0 and at most"):
        Terms(**{name: value})
