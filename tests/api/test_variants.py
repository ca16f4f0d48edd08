"""What stands beside a video is sent as the video is: tagged, in parts, under a name, or with what is missing."""

from hashlib import sha256
from pathlib import Path

import pytest
import requests

from config.settings import ArchiveSettings
from config.store import BucketStore
from jobs.artifacts import Artifact, path_of
from jobs.ledger import Ledger
from tests.api.conftest import Api, completed, described
from tests.buckets import Bucket


@pytest.mark.parametrize(
    ("variant", "artifact", "content_type", "ending"),
    [
        ("poster", "poster", "image/webp", ".poster.webp"),
        ("thumbnail", "poster", "image/webp", ".poster.webp"),  # OpenAI's word
        ("preview", "preview", "image/webp", ".preview.webp"),
        ("spritesheet", "preview", "image/webp", ".preview.webp"),  # OpenAI's word
        ("gif", "gif", "image/gif", ".preview.gif"),
        ("manifest", "manifest", "application/json", ".json"),
    ],
)
def test_each_variant_is_sent_with_its_checksum_and_a_name(
    api: Api, real_ledger: Ledger, archive: Path, variant: str, artifact: str, content_type: str, ending: str
) -> None:
    """Whole, in part, by its head alone, or not again."""
    job_id = api.submit()["id"]
    data = described(real_ledger, job_id, archive)[artifact]
    path = f"/v1/videos/{job_id}/content?variant={variant}"
    tag = f'"{sha256(data).hexdigest()}"'

    whole = api.get(path)
    part = api.get(path, Range="bytes=5-8")
    beyond = api.get(path, Range="bytes=5000-")
    head = requests.head(api.url + path, timeout=30)

    assert (whole.status_code, whole.content, whole.headers["etag"]) == (200, data, tag)
    assert whole.headers["content-type"] == content_type
    assert whole.headers["content-disposition"] == f'attachment; filename="{job_id}{ending}"'
    assert (part.status_code, part.content) == (206, data[5:9])
    assert part.headers["content-range"] == f"bytes 5-8/{len(data)}"
    assert (beyond.status_code, beyond.json()["code"]) == (416, "range_not_satisfiable")
    assert (head.content, head.headers["content-length"], head.headers["etag"]) == (b"", str(len(data)), tag)
    assert api.get(path, If_None_Match=tag).status_code == 304
    assert api.get(path, Range="bytes=5-8", If_Range='"other"').content == data


def test_a_variant_that_is_not_there_says_what_is_missing(api: Api, real_ledger: Ledger, archive: Path) -> None:
    """Not yet, not of this job, not where it should be, or no such word."""
    waiting, plain, lost = (api.submit()["id"] for _ in range(3))
    completed(real_ledger, plain, archive)
    described(real_ledger, lost, archive)
    for file in archive.rglob(f"{lost}.poster.webp"):
        file.unlink()

    def code(job_id: str, variant: str) -> tuple[int, str]:
        answer = api.get(f"/v1/videos/{job_id}/content?variant={variant}")
        return answer.status_code, answer.json()["code"]

    assert code(waiting, "poster") == (409, "not_ready")
    assert code(plain, "poster") == (404, "variant_not_there")
    assert code(lost, "poster") == (500, "file_not_here")
    assert code(plain, "soundtrack") == (422, "invalid_request")


def test_a_job_lists_what_stands_beside_its_video(api: Api, real_ledger: Ledger, archive: Path) -> None:
    """One without pictures lists none."""
    with_all, plain = api.submit()["id"], api.submit()["id"]
    described(real_ledger, with_all, archive)
    completed(real_ledger, plain, archive)

    assert set(api.get(f"/v1/videos/{with_all}").json()["artifacts"]) == {"manifest", "poster", "preview", "gif"}
    assert api.get(f"/v1/videos/{plain}").json()["artifacts"] == {}


def test_variants_in_a_bucket_are_ranged_too(
    bucket: Bucket, real_ledger: Ledger, redis_url: str, tmp_path: Path
) -> None:
    """Callers see no difference."""
    environment = {
        "RUSHES_REDIS__URL": redis_url,
        "RUSHES_STATE_DIR": str(tmp_path),
        "RUSHES_ARCHIVE__URL": bucket.url,
        "RUSHES_API__AUTH": "off",
        **bucket.environment,
    }
    with Api.started(tmp_path, environment) as api:
        job_id = api.submit()["id"]
        data = described(real_ledger, job_id, tmp_path)["poster"]
        stored = real_ledger.get(job_id).stored
        assert stored is not None
        store = BucketStore(bucket.url, ArchiveSettings())
        store.put(path_of(Artifact.POSTER, stored.path), data, "image/webp")
        part = api.get(f"/v1/videos/{job_id}/content?variant=poster", Range="bytes=-6")
        missing = api.get(f"/v1/videos/{job_id}/content?variant=preview")

    assert (part.status_code, part.content) == (206, data[-6:])
    assert missing.json()["code"] == "file_not_here"
