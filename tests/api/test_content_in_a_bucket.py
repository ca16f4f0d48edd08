"""Where the archive is a bucket, callers see no difference."""

from pathlib import Path

from config.settings import ArchiveSettings
from config.store import BucketStore
from jobs.artifacts import Artifact, path_of
from jobs.ledger import Ledger
from tests.api.conftest import BYTES, Api, completed
from tests.buckets import Bucket


def test_a_video_in_a_bucket_is_streamed_ranged_and_erased(
    bucket: Bucket, real_ledger: Ledger, redis_url: str, tmp_path: Path
) -> None:
    """A missing file is reported before the reply begins."""
    environment = {
        "RUSHES_REDIS__URL": redis_url,
        "RUSHES_STATE_DIR": str(tmp_path),
        "RUSHES_ARCHIVE__URL": bucket.url,
        "RUSHES_API__AUTH": "off",
        **bucket.environment,
    }
    store = BucketStore(bucket.url, ArchiveSettings())
    with Api.started(tmp_path, environment) as api:
        here, lost = api.submit()["id"], api.submit()["id"]
        stored = completed(real_ledger, here, tmp_path).stored
        completed(real_ledger, lost, tmp_path)
        assert stored is not None
        store.put(stored.path, BYTES, "video/mp4")
        store.put(path_of(Artifact.POSTER, stored.path), b"a still", "image/webp")

        whole = api.get(f"/v1/videos/{here}/content")
        part = api.get(f"/v1/videos/{here}/content", Range="bytes=1000-1099")
        missing = api.get(f"/v1/videos/{lost}/content")
        erased = api.delete(f"/v1/videos/{here}")

    assert whole.content == BYTES
    assert (part.status_code, part.content) == (206, BYTES[1000:1100])
    assert (missing.status_code, missing.json()["code"]) == (500, "file_not_here")
    assert erased.ok
    assert list(store.items()) == []
