"""What a backend can rely on over HTTP: requests accepted once, queries answered, commands done or refused."""

import io
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
import requests

from jobs.job import Charged, Reason
from jobs.ledger import Ledger
from jobs.states import State
from tests import steps
from tests.api.conftest import BYTES, Api, bought, completed, described
from tests.stage import eventually

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


def gave_up(ledger: Ledger, job_id: str, reason: Reason, charged: Charged) -> None:
    """End a job without its video."""
    steps.end(ledger, ledger.get(job_id), steps.ended(State.FAILED, reason, "it could not be", charged))


# -- create ---------------------------------------------------------------------------------------------------------


def test_a_request_is_accepted_and_its_job_has_a_url(api: Api) -> None:
    """202: it is not there yet, and the answer says where to ask and when."""
    answer = api.post(
        "/v1/videos", {"prompt": "a paper boat", "model": "google/veo3", "seconds": "8", "size": "720x1280"}
    )

    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/videos/{job['id']}"
    assert int(answer.headers["retry-after"]) >= 1
    assert (job["object"], job["status"], job["progress"]) == ("video", "queued", 0)
    assert (job["seconds"], job["size"]) == ("8", "720x1280")
    assert job["parameters"] == {"duration": 8, "aspect_ratio": "9:16", "resolution": "720P"}
    assert api.get(answer.headers["location"]).json() == {**job, "position": {"of_tenant": 1, "of_all": 1}}


def test_the_upstreams_own_words_are_understood(api: Api) -> None:
    """A program that knows the upstream's fields keeps them."""
    job = api.submit(duration=4, resolution="1080P", generate_audio=False, metadata={"campaign": "spring"})

    assert job["parameters"] == {"duration": 4, "resolution": "1080P", "generate_audio": False}
    assert job["metadata"] == {"campaign": "spring"}
    assert job["size"] == "1920x1080"


@pytest.mark.parametrize(
    ("model", "parameters", "size"),
    [
        ("google/veo3", {}, "1280x720"),
        ("google/veo-3.1-t2v", {}, "1920x1080"),
        ("google/veo-3.1-t2v", {"resolution": "720p", "aspect_ratio": "9:16"}, "720x1280"),
        ("google/veo3-1-extend-video", {"video_url": "https://films.example/boat.mp4"}, None),
    ],
)
def test_a_size_that_was_not_asked_for_is_the_models_own(
    api: Api, model: str, parameters: dict[str, Any], size: str | None
) -> None:
    """Models differ in their usual resolution; an extension has the size of its video."""
    assert api.submit(model=model, **parameters)["size"] == size


def test_a_form_says_the_same_as_json(api: Api) -> None:
    """OpenAI's clients send forms: every value is text there, and a picture is a file."""
    answer = requests.post(
        f"{api.url}/v1/videos",
        data={"prompt": "it sails", "seconds": "6", "generate_audio": "false", "metadata[shop]": "17"},
        files={"input_reference": ("boat.png", io.BytesIO(PNG), "image/png")},
        timeout=30,
    )

    job = answer.json()
    assert answer.status_code == 202, answer.text
    assert job["model"] == "google/veo-3.0-i2v"
    assert job["metadata"] == {"shop": "17"}
    assert job["parameters"].pop("image_url").startswith("data:image/png;base64,iVBORw0KGgo")
    assert job["parameters"] == {"duration": 6, "generate_audio": False}


def test_an_upload_is_known_by_its_bytes(api: Api) -> None:
    """Not by its name, nor by what the client says that it is."""
    answer = requests.post(
        f"{api.url}/v1/videos",
        data={"prompt": "it sails"},
        files={"input_reference": ("boat.png", io.BytesIO(b"<svg onload=alert(1)>"), "image/png")},
        timeout=30,
    )

    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"location": "body.input_reference", "message": "must be a picture: PNG, JPEG, GIF or WebP, by its content"}
    ]


@pytest.mark.parametrize(
    ("fields", "location"),
    [
        ({"prompt": "x", "seconds": "12"}, "body.seconds"),
        ({"prompt": "x", "duration": 5}, "body.duration"),
        ({"prompt": "x", "size": "1792x1024"}, "body.size"),
        ({"prompt": "x", "sise": "1280x720"}, "body.sise"),
        ({"prompt": ""}, "body.prompt"),
        ({"prompt": "x" * 40_000}, "body.prompt"),
        ({"prompt": 5}, "body.prompt"),
        ({"prompt": "x", "metadata": {"a": 1}}, "body.metadata.a"),
        ({"prompt": "x", "input_reference": {"file_id": "file-1"}}, "body.input_reference.image_url"),
        ({"prompt": "x", "deadline_s": -1}, "body.deadline_s"),
    ],
)
def test_what_cannot_be_sent_is_named_by_the_callers_own_words(
    api: Api, client: "redis.Redis", fields: dict[str, Any], location: str
) -> None:
    """And nothing is queued."""
    answer = api.post("/v1/videos", fields)

    problem = answer.json()
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert (problem["code"], problem["charged"], problem["retryable"]) == ("invalid_request", "no", False)
    assert location in [error["location"] for error in problem["errors"]]
    assert client.dbsize() == 0


def test_a_key_makes_one_job_and_answers_with_it_ever_after(api: Api) -> None:
    """A client that got no reply may ask again."""
    first = api.post("/v1/videos", {"prompt": "a boat"}, Idempotency_Key="order-4711")
    again = api.post("/v1/videos", {"prompt": "a boat"}, Idempotency_Key="order-4711")

    assert again.status_code == 202
    assert again.json()["id"] == first.json()["id"]
    assert (first.headers["idempotency-replayed"], again.headers["idempotency-replayed"]) == ("false", "true")


def test_a_key_stands_for_one_request(api: Api) -> None:
    """The same key with another request is the caller's error, not another job."""
    api.post("/v1/videos", {"prompt": "a boat"}, Idempotency_Key="order-1")

    answer = api.post("/v1/videos", {"prompt": "a ship"}, Idempotency_Key="order-1")

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_conflict")


def test_of_many_first_requests_at_once_one_makes_the_job(api: Api) -> None:
    """Twenty threads with one key: one id, one of them not replayed."""
    gate = threading.Barrier(20)

    def create(_: int) -> tuple[str, str]:
        gate.wait()
        answer = api.post("/v1/videos", {"prompt": "a boat"}, Idempotency_Key="order-2")
        return answer.json()["id"], answer.headers["idempotency-replayed"]

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(create, range(20)))

    assert len({job_id for job_id, _ in answers}) == 1
    assert sorted(replayed for _, replayed in answers).count("false") == 1


def test_a_callers_key_becomes_no_part_of_a_redis_key(api: Api, client: "redis.Redis") -> None:
    """It is hashed: whatever it holds, it can name nothing else."""
    api.post("/v1/videos", {"prompt": "a boat"}, Idempotency_Key="secret-word")

    assert not [key for key in client.scan_iter() if "secret-word" in key]
    assert 0 < client.ttl(next(client.scan_iter("rushes:idempotency:*"))) <= 86_400


# -- many at once ---------------------------------------------------------------------------------------------------


def test_each_request_of_a_batch_is_validated_by_itself(api: Api) -> None:
    """A bad one does not hold up the others, and its errors are its own."""
    requests_ = [
        {"prompt": "a boat"},
        {"prompt": "a ship", "seconds": "12"},
        "no request",
        {"prompt": "a raft", "seconds": 4},
    ]

    answer = api.post("/v1/videos/batch", {"requests": requests_})

    results = answer.json()["data"]
    assert answer.status_code == 207
    assert [(result["index"], result["status"]) for result in results] == [(0, 202), (1, 422), (2, 422), (3, 202)]
    assert results[1]["error"]["errors"][0]["location"] == "body.seconds"
    assert [job["prompt"] for job in api.get("/v1/videos?order=asc").json()["data"]] == ["a boat", "a raft"]


def test_a_batch_may_be_sent_again(api: Api) -> None:
    """Each request gets its own key from the batch's: an accepted one is not accepted twice, a new one is."""
    requests_ = [{"prompt": "a boat"}, {"prompt": "a boat"}]
    first = api.post("/v1/videos/batch", {"requests": requests_}, Idempotency_Key="batch-1").json()["data"]
    again = api.post(
        "/v1/videos/batch", {"requests": [*requests_, {"prompt": "a raft"}]}, Idempotency_Key="batch-1"
    ).json()["data"]

    assert len({result["video"]["id"] for result in [*first, *again]}) == 3
    assert [result["replayed"] for result in again] == [True, True, False]


def test_a_batch_has_a_bound(api: Api) -> None:
    """Of none and of too many nothing is taken."""
    for requests_ in ([], [{"prompt": "a boat"}] * 101):
        assert api.post("/v1/videos/batch", {"requests": requests_}).status_code == 422
    assert api.get("/v1/videos").json()["data"] == []


# -- questions ------------------------------------------------------------------------------------------------------


def test_an_unchanged_job_is_not_sent_twice(api: Api, real_ledger: Ledger) -> None:
    """ETag and 304; a change changes the tag."""
    job_id = api.submit()["id"]
    first = api.get(f"/v1/videos/{job_id}")
    tag = first.headers["etag"]

    unchanged = api.get(f"/v1/videos/{job_id}", If_None_Match=tag)
    bought(real_ledger, job_id)
    changed = api.get(f"/v1/videos/{job_id}", If_None_Match=tag)

    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", tag)
    assert (changed.status_code, changed.json()["status"]) == (200, "in_progress")


def test_progress_is_a_guess_until_the_end(api: Api, real_ledger: Ledger, archive: Path) -> None:
    """It rises with the time that has passed, and is 100 only when the video is ours."""
    job_id = api.submit()["id"]
    bought(real_ledger, job_id)
    under_way = api.get(f"/v1/videos/{job_id}").json()
    other_id = api.submit()["id"]
    completed(real_ledger, other_id, archive)

    assert 0 <= under_way["progress"] < 100
    assert 0 < under_way["eta"]["p50_s"] <= under_way["eta"]["p90_s"]
    assert api.get(f"/v1/videos/{other_id}").json()["progress"] == 100


def test_a_client_need_not_poll_before_we_do(api: Api, real_ledger: Ledger) -> None:
    """Retry-After is learned from when we poll ourselves; OpenAI's pollers have a header of their own."""
    job_id = api.submit()["id"]
    bought(real_ledger, job_id)  # its first poll is due in 60 s

    answer = api.get(f"/v1/videos/{job_id}")

    assert 50 <= int(answer.headers["retry-after"]) <= 60
    assert int(answer.headers["openai-poll-after-ms"]) == 5000


def test_pages_follow_each_other_without_gap_or_overlap(api: Api) -> None:
    """A cursor, newest first; the other way round on request."""
    ids = [api.submit(f"boat {n}")["id"] for n in range(5)]

    first = api.get("/v1/videos?limit=3").json()
    second = api.get(f"/v1/videos?limit=3&after={first['last_id']}").json()
    upwards = api.get("/v1/videos?order=asc").json()

    assert [job["id"] for job in first["data"] + second["data"]] == ids[::-1]
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert [job["id"] for job in upwards["data"]] == ids


def test_a_list_is_filtered_by_status_model_label_and_time(api: Api, real_ledger: Ledger) -> None:
    """Each filter narrows; together they all must fit."""
    one = api.submit(model="google/veo-3.0-fast", metadata={"shop": "17"})
    other = api.submit(metadata={"shop": "18"})
    bought(real_ledger, other["id"])

    def found(query: str) -> list[str]:
        return [job["id"] for job in api.get(f"/v1/videos?{query}").json()["data"]]

    assert found("status=queued") == [one["id"]]
    assert found("status=queued&status=in_progress") == [other["id"], one["id"]]
    assert found("model=google/veo-3.0-fast") == [one["id"]]
    assert found("metadata[shop]=18") == [other["id"]]
    assert found(f"created_before={one['created_at'] - 5}") == []
    assert found(f"created_from={one['created_at'] - 5}&metadata[shop]=17") == [one["id"]]


def test_a_rare_job_among_many_costs_a_bounded_answer(api: Api, client: "redis.Redis") -> None:
    """A filter that fits nothing reads two thousand jobs at most, says that there is more, and from where."""
    pipe = client.pipeline()
    for n in range(2100):
        pipe.zadd("rushes:index:all", {f"job_{n:026d}": 0})
    pipe.execute()

    page = api.get("/v1/videos?model=veo2&order=asc").json()
    rest = api.get(f"/v1/videos?model=veo2&order=asc&after={page['last_id']}").json()

    assert (page["data"], page["has_more"], page["last_id"]) == ([], True, f"job_{1999:026d}")
    assert (rest["has_more"], rest["last_id"]) == (False, None)


def test_the_job_log_shows_what_happened(api: Api, real_ledger: Ledger) -> None:
    """Every edge, in order."""
    job_id = api.submit()["id"]
    bought(real_ledger, job_id)

    listed = api.get(f"/v1/videos/{job_id}/events").json()

    assert [entry["event"] for entry in listed["data"]] == ["job.accepted", "job.submitting", "job.submitted"]


# -- wishes ---------------------------------------------------------------------------------------------------------


def test_a_cancel_before_the_purchase_is_free(api: Api) -> None:
    """And asking twice is harmless."""
    job_id = api.submit()["id"]

    answers = [api.post(f"/v1/videos/{job_id}/cancel") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert {(answer.json()["status"], answer.json()["charged"]) for answer in answers} == {("cancelled", "no")}


def test_a_cancel_in_the_middle_of_the_purchase_is_noted(api: Api, real_ledger: Ledger) -> None:
    """202: what was bought is not known yet."""
    job_id = api.submit()["id"]
    steps.submitting(real_ledger, real_ledger.get(job_id), lease_s=60)

    answer = api.post(f"/v1/videos/{job_id}/cancel")

    assert (answer.status_code, answer.json()["status"]) == (202, "in_progress")


def test_a_retry_goes_on_with_what_was_bought(api: Api, real_ledger: Ledger) -> None:
    """Free: a new job polls the same generation, and both know of each other."""
    job_id = api.submit(metadata={"shop": "17"})["id"]
    bought(real_ledger, job_id)
    gave_up(real_ledger, job_id, Reason.DEADLINE_PASSED, Charged.YES)

    answer = api.post(f"/v1/videos/{job_id}/retry")

    new = answer.json()
    assert answer.status_code == 202, answer.text
    assert (new["state"], new["generation_id"], new["retry_of"]) == ("rendering", "generation-1", job_id)
    assert (new["prompt"], new["metadata"], new["cost_usd"]) == ("a paper boat in the rain", {"shop": "17"}, 0.0)
    assert api.get(f"/v1/videos/{job_id}").json()["retried_as"] == new["id"]


def test_a_retry_pays_only_with_pay_again(api: Api, real_ledger: Ledger) -> None:
    """A failed generation cannot be fetched, so another would have to be bought."""
    job_id = api.submit()["id"]
    bought(real_ledger, job_id)
    gave_up(real_ledger, job_id, Reason.GENERATION_FAILED, Charged.NO)

    refused = api.post(f"/v1/videos/{job_id}/retry")
    answers = [api.post(f"/v1/videos/{job_id}/retry", {"pay_again": True}) for _ in range(2)]

    assert (refused.status_code, refused.json()["code"]) == (409, "would_pay")
    assert [answer.status_code for answer in answers] == [202, 202]
    assert (answers[0].json()["state"], answers[0].json()["generation_id"]) == ("queued", None)
    assert answers[0].json()["id"] == answers[1].json()["id"]  # asked twice, bought once
    assert answers[1].headers["idempotency-replayed"] == "true"


def test_what_goes_on_or_has_its_video_is_not_repeated(api: Api, real_ledger: Ledger, archive: Path) -> None:
    """A retry is for what ended without its video."""
    waiting, done = api.submit()["id"], api.submit()["id"]
    completed(real_ledger, done, archive)

    assert api.post(f"/v1/videos/{waiting}/retry").json()["code"] == "not_ended"
    assert api.post(f"/v1/videos/{done}/retry").json()["code"] == "has_its_video"


def test_a_delete_erases_prompt_and_file_and_keeps_the_cost(
    api: Api, real_ledger: Ledger, archive: Path, client: "redis.Redis"
) -> None:
    """The job is gone for callers, its money row is not; its hooks are not called any more."""
    job_id = api.submit("a private matter")["id"]
    file = archive / completed(real_ledger, job_id, archive).stored.path  # type: ignore[union-attr]  # it was just stored
    left, anothers = (file.with_name(f"{name}.9.mp4") for name in (job_id, f"{job_id}0"))
    for path in (left, anothers):
        path.write_bytes(b"what a fetch left that died before the row named its file")

    answers = [api.delete(f"/v1/videos/{job_id}") for _ in range(2)]

    assert {(answer.status_code, answer.json()["deleted"]) for answer in answers} == {(200, True)}
    assert not file.exists()
    assert (left.exists(), anothers.exists()) == (False, True)
    assert api.get(f"/v1/videos/{job_id}").json()["code"] == "erased"
    assert api.get(f"/v1/videos/{job_id}/content").status_code == 404
    assert api.get("/v1/videos").json()["data"] == []
    row = real_ledger.get(job_id)
    assert (row.cost_usd, row.charged, row.stored, row.video) == (4.16, Charged.YES, None, None)
    assert not [key for key in client.scan_iter() if client.type(key) == "string" and "private" in str(client.get(key))]
    assert real_ledger.follow_ups() == 0


def test_what_has_not_ended_is_not_erased(api: Api) -> None:
    """It would go on, and be paid for, without anybody knowing what it was."""
    job_id = api.submit()["id"]

    answer = api.delete(f"/v1/videos/{job_id}")

    assert (answer.status_code, answer.json()["code"]) == (409, "not_ended")


# -- content --------------------------------------------------------------------------------------------------------


def test_the_video_is_streamed_with_its_checksum(api: Api, real_ledger: Ledger, archive: Path) -> None:
    """Whole, with a name to save it under."""
    job_id = api.submit()["id"]
    completed(real_ledger, job_id, archive)

    answer = api.get(f"/v1/videos/{job_id}/content")

    assert (answer.status_code, answer.content) == (200, BYTES)
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["etag"] == f'"{"ab" * 32}"'
    assert answer.headers["content-disposition"] == f'attachment; filename="{job_id}.mp4"'
    assert api.get(f"/v1/videos/{job_id}/content", If_None_Match=answer.headers["etag"]).status_code == 304


@pytest.mark.parametrize(
    ("asked", "status", "said", "came"),
    [
        ("bytes=0-99", 206, "bytes 0-99/10240", BYTES[:100]),
        ("bytes=10200-", 206, "bytes 10200-10239/10240", BYTES[10200:]),
        ("bytes=-40", 206, "bytes 10200-10239/10240", BYTES[-40:]),
        ("bytes=100-999999", 206, "bytes 100-10239/10240", BYTES[100:]),
        ("bytes=10240-", 416, "bytes */10240", None),
        ("bytes=5-3", 200, None, BYTES),
        ("bytes=0-1,5-6", 200, None, BYTES),
        ("parsecs=1-2", 200, None, BYTES),
    ],
)
def test_a_part_of_the_video_can_be_asked_for(
    api: Api, real_ledger: Ledger, archive: Path, asked: str, status: int, said: str | None, came: bytes | None
) -> None:
    """So that a browser can seek, and a broken download go on; what is no such wish gets all of it."""
    job_id = api.submit()["id"]
    completed(real_ledger, job_id, archive)

    answer = api.get(f"/v1/videos/{job_id}/content", Range=asked)

    assert (answer.status_code, answer.headers.get("content-range")) == (status, said)
    assert came is None or answer.content == came


def test_a_large_video_is_never_in_memory(api: Api, real_ledger: Ledger, archive: Path) -> None:
    """A slow caller costs a piece of it at a time, however long it is."""
    job_id, size = api.submit()["id"], 300_000_000
    stored = completed(real_ledger, job_id, archive, size_bytes=size).stored
    assert stored is not None
    assert api.process is not None
    os.truncate(archive / stored.path, size)
    process = psutil.Process(api.process.pid)
    before = process.memory_info().rss

    came = most = 0
    with requests.get(f"{api.url}/v1/videos/{job_id}/content", stream=True, timeout=30) as answer:
        for chunk in answer.iter_content(1_000_000):
            came += len(chunk)
            most = max(most, process.memory_info().rss - before)

    assert came == size
    assert most < size / 4


def test_a_download_goes_on_only_with_the_same_file(api: Api, real_ledger: Ledger, archive: Path) -> None:
    """If-Range with another tag gets all of it anew."""
    job_id = api.submit()["id"]
    completed(real_ledger, job_id, archive)

    same = api.get(f"/v1/videos/{job_id}/content", Range="bytes=0-9", If_Range=f'"{"ab" * 32}"')
    other = api.get(f"/v1/videos/{job_id}/content", Range="bytes=0-9", If_Range='"other"')

    assert (same.status_code, other.status_code) == (206, 200)


def test_a_video_that_is_not_there_says_what_is_missing(api: Api, real_ledger: Ledger, archive: Path) -> None:
    """Not yet, never, not of that kind, or not where it should be: four different things to do."""
    waiting, failed, done, lost = (api.submit()["id"] for _ in range(4))
    gave_up(real_ledger, failed, Reason.REFUSED, Charged.NO)
    completed(real_ledger, done, archive)
    (archive / completed(real_ledger, lost, archive).stored.path).unlink()  # type: ignore[union-attr]  # it was just stored

    def code(path: str) -> tuple[int, str]:
        answer = api.get(path)
        return answer.status_code, answer.json()["code"]

    assert code(f"/v1/videos/{waiting}/content") == (409, "not_ready")
    assert code(f"/v1/videos/{failed}/content") == (409, "no_video")
    assert code(f"/v1/videos/{done}/content?variant=poster") == (404, "variant_not_there")
    assert code(f"/v1/videos/{lost}/content") == (500, "file_not_here")


@pytest.mark.parametrize("path", ["../secret.mp4", "/etc/hostname", "2026/11/24/../../../../secret.mp4"])
def test_a_row_that_somebody_tampered_with_gives_and_takes_no_file(
    api: Api, real_ledger: Ledger, archive: Path, client: "redis.Redis", path: str
) -> None:
    """A person who can write to Redis must not reach this machine's files by it."""
    job_id = api.submit()["id"]
    described(real_ledger, job_id, archive)
    secrets = [archive.parent / f"secret{suffix}" for suffix in (".mp4", ".json", ".poster.webp")]
    for secret in secrets:
        secret.write_bytes(b"secret")
    stored = {"path": path, "size_bytes": 6, "sha256": "ab" * 32, "content_type": "video/mp4"}
    client.hset(f"rushes:job:{job_id}", "stored", json.dumps(stored))

    answers = [api.get(f"/v1/videos/{job_id}/content{query}") for query in ("", "?variant=poster", "?variant=manifest")]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(500, "file_not_here")] * 3
    assert api.delete(f"/v1/videos/{job_id}").json()["code"] == "archive_unavailable"
    assert [secret.read_bytes() for secret in secrets] == [b"secret"] * 3
    assert api.get(f"/v1/videos/{job_id}").status_code == 200


# -- health ---------------------------------------------------------------------------------------------------------


def test_ready_means_that_a_job_would_be_worked_on(api: Api, real_ledger: Ledger) -> None:
    """Redis takes writes, and a worker was seen; without one, the answer says so."""
    alone = api.get("/readyz")
    real_ledger.worker_seen("one@test.1", "1.0")

    assert (alone.status_code, alone.json()) == (503, {"ready": False, "redis": "ok", "workers": 0, "paused": False})
    eventually(lambda: api.get("/readyz").json() == {"ready": True, "redis": "ok", "workers": 1, "paused": False})


def test_a_row_of_a_newer_version_is_reported_as_one(api: Api, client: "redis.Redis") -> None:
    """It is not Redis that has to be mended, but the API that has to be updated."""
    job_id = api.submit()["id"]
    client.hset(f"rushes:job:{job_id}", "state", "composing")

    answer = api.get(f"/v1/videos/{job_id}")

    assert answer.status_code == 503
    assert "this one cannot read it: update the API" in answer.json()["detail"]
    assert job_id not in [job["id"] for job in api.get("/v1/videos").json()["data"]]
