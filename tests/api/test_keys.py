"""Tenants and their keys: who may do what, how often, and what of others they see."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import redis
import requests

from jobs.ledger import Ledger
from producer.api.application import OPEN_PATHS
from producer.keys import Keys, Scope
from tests.api.conftest import Api, bought, completed
from tests.api.test_openapi import DOCUMENT
from tests.stage import Stage

JOB = "job_01kb0000000000000000000000"
ENDPOINT = "wh_01kb0000000000000000000000"
OPERATIONS = [
    (method, path.format(job_id=JOB, key_id="0" * 16, endpoint_id=ENDPOINT, model="google/veo3", scope="account"))
    for path, operations in DOCUMENT["paths"].items()
    for method in operations
    if path not in OPEN_PATHS
]


@pytest.fixture(scope="session")
def keyed_process(redis_url: str, archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An API that asks for keys, as it does by default."""
    environment = {
        "RUSHES_REDIS__URL": redis_url,
        "RUSHES_ARCHIVE__DIR": str(archive),
        "RUSHES_API__REQUESTS_PER_MIN": "60",
        "RUSHES_API__CORS_ORIGINS": "https://shop.example",
    }
    with Api.started(tmp_path_factory.mktemp("keyed"), environment) as started:
        yield started


@pytest.fixture
def keyed(keyed_process: Api, client: object) -> Api:  # noqa: ARG001 (the client empties Redis)
    """The same over an empty Redis."""
    return keyed_process


@pytest.fixture
def access(client: "redis.Redis") -> Keys:
    """Issues keys."""
    return Keys(client)


def holder(keyed: Api, access: Keys, tenant: str, *scopes: Scope) -> Api:
    """The API as a tenant's program calls it."""
    issued = access.issue(tenant, scopes or (Scope.SUBMIT, Scope.READ))
    return Api(keyed.url, keyed.log, issued.token)


def stream_of(keyed: Api, access: Keys, *, life_s: float | None = None) -> tuple[str, requests.Response]:
    """A job's event stream, open by a key of its own; and the id of that key."""
    issued = access.issue("shop", [Scope.SUBMIT, Scope.READ], life_s=life_s)
    job_id = Api(keyed.url, keyed.log, issued.token).submit()["id"]
    headers = {"Authorization": f"Bearer {issued.token}", "Accept": "text/event-stream"}
    stream = requests.get(f"{keyed.url}/v1/videos/{job_id}/events", headers=headers, stream=True, timeout=30)
    assert stream.status_code == 200
    return issued.key.id, stream


# -- without a key --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_route_asks_for_a_key(keyed: Api, method: str, path: str) -> None:
    """None is open by an oversight."""
    for header in ({}, {"Authorization": "Bearer rushes_0123456789abcdef_guess"}, {"Authorization": "Basic eDp5"}):
        body = {"prompt": "x", "tenant": "shop"} if method == "post" else None
        answer = requests.request(method, keyed.url + path, json=body, headers=header, timeout=30)
        assert answer.status_code == 401, answer.text
        assert answer.headers["www-authenticate"] == "Bearer"


def test_health_needs_no_key(keyed: Api) -> None:
    """A load balancer has no key."""
    assert keyed.get("/healthz").ok
    assert keyed.get("/readyz").status_code in {200, 503}


# -- with one -------------------------------------------------------------------------------------------------------


def test_a_tenant_sees_only_its_own(keyed: Api, access: Keys, real_ledger: Ledger, archive: Path) -> None:
    """Another's job is answered exactly as one that never was."""
    shop, gym = holder(keyed, access, "shop"), holder(keyed, access, "gym")
    job_id = shop.submit("a secret boat", metadata={"a": "b"})["id"]
    completed(real_ledger, job_id, archive)
    never = "job_01kb0000000000000000000000"

    assert shop.get(f"/v1/videos/{job_id}").ok
    assert [job["id"] for job in shop.get("/v1/videos").json()["data"]] == [job_id]
    assert gym.get("/v1/videos").json()["data"] == []
    assert gym.get("/v1/videos?metadata[a]=b&status=completed").json()["data"] == []
    for path in ("", "/events", "/content"):
        theirs, nobodys = gym.get(f"/v1/videos/{job_id}{path}"), gym.get(f"/v1/videos/{never}{path}")
        assert (theirs.status_code, nobodys.status_code) == (404, 404)
        assert theirs.json()["detail"] == nobodys.json()["detail"]
    assert gym.post(f"/v1/videos/{job_id}/cancel").status_code == 404
    assert gym.post(f"/v1/videos/{job_id}/retry").status_code == 404
    assert gym.delete(f"/v1/videos/{job_id}").status_code == 404
    assert gym.get(f"/v2/video/generations?generation_id={job_id}").status_code == 404
    assert shop.delete(f"/v1/videos/{job_id}").ok
    assert gym.get(f"/v1/videos/{job_id}").status_code == 404
    assert shop.get(f"/v1/videos/{job_id}").json()["code"] == "erased"


def test_a_tenants_list_is_filtered_by_state(keyed: Api, access: Keys, real_ledger: Ledger) -> None:
    """From its own index."""
    shop = holder(keyed, access, "shop")
    one, other = shop.submit()["id"], shop.submit()["id"]
    bought(real_ledger, other)

    assert [job["id"] for job in shop.get("/v1/videos?status=queued").json()["data"]] == [one]
    assert [job["id"] for job in shop.get("/v1/videos?status=in_progress").json()["data"]] == [other]


def test_a_retry_stays_with_its_tenant(keyed: Api, access: Keys, real_ledger: Ledger) -> None:
    """The new job is theirs as the old one was."""
    shop, gym = holder(keyed, access, "shop"), holder(keyed, access, "gym")
    job_id = shop.submit()["id"]
    shop.post(f"/v1/videos/{job_id}/cancel")

    new = shop.post(f"/v1/videos/{job_id}/retry", {"pay_again": True}).json()["id"]

    assert real_ledger.get(new).tenant == "shop"
    assert shop.get(f"/v1/videos/{new}").ok
    assert gym.get(f"/v1/videos/{new}").status_code == 404


def test_each_tenant_has_idempotency_keys_of_its_own(keyed: Api, access: Keys) -> None:
    """Else one could learn of another's, or block it."""
    shop, gym = holder(keyed, access, "shop"), holder(keyed, access, "gym")

    ids = {
        caller.post("/v1/videos", {"prompt": f"a {name}"}, Idempotency_Key="order-1").json()["id"]
        for name, caller in (("boat", shop), ("weight", gym))
    }

    assert len(ids) == 2


def test_a_scope_is_what_a_key_may_do(keyed: Api, access: Keys) -> None:
    """A reader cannot submit, a submitter cannot read, neither can issue keys."""
    reader = holder(keyed, access, "shop", Scope.READ)
    submitter = holder(keyed, access, "shop", Scope.SUBMIT)

    refused = reader.post("/v1/videos", {"prompt": "a boat"})
    job_id = submitter.submit()["id"]

    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert "submit" in refused.json()["detail"]
    assert reader.get(f"/v1/videos/{job_id}").ok
    assert submitter.get(f"/v1/videos/{job_id}").status_code == 403
    for caller in (reader, submitter):
        assert caller.post("/v1/keys", {"tenant": "shop"}).status_code == 403
        assert caller.get("/v1/keys").status_code == 403


def test_a_key_over_its_rate_limit_gets_the_time_to_try_again(keyed: Api, access: Keys) -> None:
    """Each answer says what is left; another key of the same tenant is not held."""
    busy, calm = holder(keyed, access, "shop"), holder(keyed, access, "shop")
    first = busy.get("/v1/videos")
    answers = [busy.get("/v1/videos") for _ in range(65)]

    refused = next(answer for answer in answers if answer.status_code == 429)
    assert first.headers["ratelimit-policy"] == '"key";q=60;w=60'
    assert first.headers["ratelimit"].startswith('"key";r=59;t=')
    assert refused.json()["code"] == "rate_limited"
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert refused.headers["ratelimit"].startswith('"key";r=0;t=')
    assert int(refused.headers["retry-after"]) >= 1
    assert calm.get("/v1/videos").ok


def test_each_request_of_a_batch_counts(keyed: Api, access: Keys) -> None:
    """A batch is no way around the quota; one that does not fit into what is left is refused whole."""
    shop = holder(keyed, access, "shop")
    batch = {"requests": [{"prompt": "a boat"}] * 40}

    taken, refused = (shop.post("/v1/videos/batch", batch) for _ in range(2))

    assert taken.status_code == 207
    assert taken.headers["ratelimit"].startswith('"key";r=20;t=')
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert len(shop.get("/v1/videos?limit=100").json()["data"]) == 40


def test_a_batch_that_is_larger_than_a_minutes_quota_needs_all_of_it(keyed: Api, access: Keys) -> None:
    """Else it could never be sent."""
    shop = holder(keyed, access, "shop")

    taken = shop.post("/v1/videos/batch", {"requests": [{"prompt": "a boat"}] * 61})

    assert taken.status_code == 207, taken.text
    assert shop.get("/v1/videos").status_code == 429


def test_an_administrator_issues_and_revokes_keys(keyed: Api, access: Keys) -> None:
    """The token is in the first answer and in no other; revoked, it ends at once."""
    admin = holder(keyed, access, "office", Scope.ADMIN)

    answer = admin.post("/v1/keys", {"tenant": "shop", "name": "backend", "expires_in_s": 3600})
    issued = answer.json()
    shop = Api(keyed.url, keyed.log, issued["token"])
    listed = admin.get("/v1/keys")

    assert answer.status_code == 201
    assert shop.get("/v1/videos").ok
    assert issued["expires_at"] - issued["created_at"] == 3600
    assert issued["token"] not in listed.text
    assert [key["tenant"] for key in listed.json()["data"]] == ["office", "shop"]
    assert admin.delete(f"/v1/keys/{issued['id']}").json()["revoked_at"]
    assert shop.get("/v1/videos").status_code == 401
    assert admin.delete(f"/v1/keys/{'0' * 16}").status_code == 404
    assert admin.post("/v1/keys", {"tenant": "../etc"}).status_code == 422


@pytest.mark.long
def test_the_operator_issues_lists_and_revokes_on_the_command_line(stage: Stage) -> None:
    """The first administrator's key comes from there."""
    output = stage.rushes(
        "keys", "issue", "--tenant", "office", "--scope", "admin", "--expires-in-days", "90", "--json"
    )
    issued = json.loads(output.stdout)
    listed = stage.rushes("keys", "list")
    revoked = stage.rushes("keys", "revoke", issued["id"], "--json")

    assert issued["token"].startswith(f"rushes_{issued['id']}_")
    assert "office" in listed.stdout
    assert issued["token"] not in listed.stdout
    assert json.loads(revoked.stdout)["revoked_at"]
    assert stage.rushes("keys", "revoke", "0" * 16).returncode == 5
    assert stage.rushes("keys", "issue", "--tenant", "A B").returncode == 2


# -- browsers -------------------------------------------------------------------------------------------------------


def test_a_page_may_call_it_only_from_an_origin_that_was_set(keyed: Api) -> None:
    """The preflight is answered without a key, as browsers send none."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}

    ours = requests.options(f"{keyed.url}/v1/videos", headers={"Origin": "https://shop.example", **asked}, timeout=30)
    other = requests.options(f"{keyed.url}/v1/videos", headers={"Origin": "https://evil.example", **asked}, timeout=30)

    assert ours.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-credentials" not in ours.headers
    assert "access-control-allow-origin" not in other.headers


# -- keys switched off ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rushes.evil.example"},  # a name that was rebound to this machine's address
        {"Origin": "https://evil.example"},  # a form on a page that a browser of this machine shows
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},  # a picture, a script or a frame of a page: browsers send no Origin with it
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Site": "cross-site", "Referer": "https://evil.example/page"},
    ],
)
def test_without_keys_no_page_of_elsewhere_is_served(api: Api, headers: dict[str, str]) -> None:
    """Being on this machine is all the proof there is, and a browser here has it too."""
    answer = requests.post(f"{api.url}/v1/videos", files={"prompt": (None, "a boat")}, headers=headers, timeout=30)

    assert (answer.status_code, answer.json()["code"]) == (403, "not_local")


def test_without_keys_this_machine_needs_none(api: Api) -> None:
    """A page of our own on loopback included."""
    assert api.get("/v1/videos", Origin="http://localhost:3000").ok
    assert api.get("/v1/videos").ok
    assert api.get("/v1/videos", Sec_Fetch_Site="cross-site", Referer="http://localhost:3000/").ok
    assert api.get("/docs", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document").ok


# -- a right that ends while it is used -----------------------------------------------------------------------------


@pytest.mark.parametrize("life_s", [None, 2.0], ids=["revoked", "expired"])
def test_an_open_stream_ends_with_its_key(keyed: Api, access: Keys, life_s: float | None) -> None:
    """A caller that lost the right to read a job does not go on reading its events; others do."""
    key_id, stream = stream_of(keyed, access, life_s=life_s)
    _, other = stream_of(keyed, access)
    with stream, other:
        if life_s is None:
            access.revoke(key_id)

        lines = list(stream.iter_lines(chunk_size=1))  # until the server ends it

        assert b"event: job.accepted" in lines
        alive = (line for line in other.iter_lines(chunk_size=1) if line == b": alive")
        assert len(list(islice(alive, 2))) == 2, "checked twice, and still open"
