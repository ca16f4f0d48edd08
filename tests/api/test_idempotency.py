"""A key means the same on every face: code that moves from one to another does not buy twice."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

import pytest
import redis

from config.settings import Settings
from jobs.errors import InvalidRequest
from jobs.job import Terms, VideoRequest
from producer.cli.exits import Exit
from producer.client import Rushes
from producer.keys import Keys, Scope
from producer.service import Selection, make_service
from tests.api.conftest import Api
from tests.stage import Stage

KEY: Final = "order-4711.0"
BODY: Final = {"prompt": "a boat", "model": "google/veo3", "duration": 8, "metadata": {"shop": "17"}}
REQUEST: Final = VideoRequest("google/veo3", "a boat", {"duration": 8}, {"shop": "17"})

Face = Callable[[Api, Stage], Any]


def over_http(api: Api, _stage: Stage) -> Any:
    """As JSON."""
    return api.post("/v1/videos", BODY, Idempotency_Key=KEY).json()["id"]


def in_openais_words(api: Api, _stage: Stage) -> Any:
    """The same request with other field names."""
    body = {name: value for name, value in BODY.items() if name != "duration"} | {"seconds": "8"}
    return api.post("/v1/videos", body, Idempotency_Key=KEY).json()["id"]


def as_the_first_of_a_batch(api: Api, _stage: Stage) -> Any:
    """The batch's key and its place."""
    answer = api.post("/v1/videos/batch", {"requests": [BODY]}, Idempotency_Key=KEY.removesuffix(".0"))
    return answer.json()["data"][0]["video"]["id"]


def on_the_upstreams_face(api: Api, _stage: Stage) -> Any:
    """Where programs of the upstream's are."""
    return api.post("/v2/video/generations", BODY, Idempotency_Key=KEY).json()["id"]


def by_the_client_library(api: Api, _stage: Stage) -> Any:
    """Which mints a key only where none is given."""
    with Rushes(api.url) as rushes:
        return rushes.submit("a boat", model="google/veo3", seconds=8, metadata={"shop": "17"}, idempotency_key=KEY).id


def in_process(_api: Api, stage: Stage) -> Any:
    """A producer's own code."""
    return stage.service.submit(REQUEST, Terms(idempotency_key=KEY)).job_id


def in_process_many(_api: Api, stage: Stage) -> Any:
    """Many at once."""
    return stage.service.submit_many([(REQUEST, Terms(idempotency_key=KEY))])[0].job_id  # type: ignore[union-attr]  # it is accepted


def on_the_command_line(_api: Api, stage: Stage) -> Any:
    """A person, or a script."""
    return stage.rushes(
        "submit", "a boat", "-m", "google/veo3", "--duration", "8", "--metadata", "shop=17", "--idempotency-key", KEY
    ).stdout.strip()


def as_a_row_of_a_file(_api: Api, stage: Stage) -> Any:
    """The batch's file has names of its own, under the same roof."""
    (stage.folder / "b.jsonl").write_text(json.dumps(BODY | {"key": "7"}))
    ran = stage.rushes("batch", "b.jsonl", "--name", "x", "--no-wait", "--json")
    assert ran.returncode == Exit.DONE, ran.stderr
    return json.loads(ran.stdout)["id"]


FACES: Final = (
    over_http,
    in_openais_words,
    as_the_first_of_a_batch,
    on_the_upstreams_face,
    by_the_client_library,
    in_process,
    in_process_many,
    on_the_command_line,
)


@pytest.mark.parametrize("first", [over_http, as_the_first_of_a_batch, in_process, on_the_command_line])
def test_the_same_key_is_the_same_job_on_every_face(staged_api: Api, stage: Stage, first: Face) -> None:
    """Whichever was there first."""
    job_id = first(staged_api, stage)

    assert job_id.startswith("job_")
    assert {face.__name__: face(staged_api, stage) for face in FACES} == {face.__name__: job_id for face in FACES}


def test_a_files_rows_have_their_keys_in_the_same_namespace(staged_api: Api, stage: Stage) -> None:
    """`batch:<name>:<key>`, also for a client that goes on over HTTP."""
    job_id = as_a_row_of_a_file(staged_api, stage)

    assert as_a_row_of_a_file(staged_api, stage) == job_id
    assert staged_api.post("/v1/videos", BODY, Idempotency_Key="batch:x:7").json()["id"] == job_id


def test_a_tenant_has_one_namespace(stage: Stage, client: "redis.Redis", redis_url: str) -> None:
    """With a key over HTTP, or named in-process; another's, or nobody's, is another."""
    service = make_service(Settings.model_validate({"redis": {"url": redis_url}}))
    token = Keys(client).issue("shop", (Scope.SUBMIT, Scope.READ)).token
    with Api.started(stage.folder, {"RUSHES_REDIS__URL": redis_url, "RUSHES_STATE_DIR": str(stage.folder)}) as keyed:
        over_http_id = over_http(Api(keyed.url, keyed.log, token), stage)

    ids = {
        tenant: service.submit(REQUEST, Terms(idempotency_key=KEY, tenant=tenant)).job_id
        for tenant in ("shop", "gym", None)
    }

    assert ids["shop"] == over_http_id
    assert len(set(ids.values())) == 3


def test_a_key_that_is_none_is_refused_before_anything_is_queued(stage: Stage) -> None:
    """In-process and on the command line, where no header's grammar stands before it."""
    with pytest.raises(InvalidRequest, match="idempotency_key"):
        stage.service.submit(REQUEST, Terms(idempotency_key=""))
    with pytest.raises(InvalidRequest, match="idempotency_key"):
        asyncio.run(stage.service.submit_async(REQUEST, Terms(idempotency_key="")))
    ran = stage.rushes("submit", "a boat", "--idempotency-key", "")

    assert (ran.returncode, "idempotency_key: must be" in ran.stderr) == (Exit.INVALID, True)
    assert stage.service.page(Selection(), limit=1).jobs == []
