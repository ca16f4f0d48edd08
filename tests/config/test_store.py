"""Folder and bucket keep the same promises; what goes wrong with either is one kind of error."""

import os
from pathlib import Path

import pytest
import requests

from config.settings import ArchiveSettings, ConfigurationError, Settings
from config.store import (
    PART_BYTES,
    SLICE_BYTES,
    BucketStore,
    FolderStore,
    NameTaken,
    NotThere,
    Store,
    StoreError,
    open_store,
)
from tests.buckets import Bucket
from tests.worker.servers import REFUSING

NAME = "2026/11/22/job_a.mp4"


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store of each kind."""
    if request.param == "folder":
        return FolderStore(tmp_path / "archive")
    return BucketStore(request.getfixturevalue("bucket").url, ArchiveSettings())


def a_file(folder: Path, data: bytes) -> str:
    """A local file on the same disk as the store's folder."""
    path = folder / "made"
    path.write_bytes(data)
    return str(path)


def kept(store: Store, folder: Path, data: bytes, name: str = NAME) -> None:
    """Keep some bytes under a name."""
    store.keep(a_file(folder, data), name, "video/mp4", within_s=60)


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, 2 * PART_BYTES + 1])
def test_what_is_kept_is_read_back_in_bounded_pieces(store: Store, tmp_path: Path, size: int) -> None:
    """Files of any size are uploaded whole or in parts, and never more than a slice is in memory."""
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    kept(store, tmp_path, data)

    pieces = list(store.slices(NAME))

    assert b"".join(pieces) == data
    assert max(map(len, pieces), default=0) <= SLICE_BYTES


def test_a_kept_file_is_never_replaced(store: Store, tmp_path: Path) -> None:
    """A row holds its checksum; a worker that froze for an hour must not change it."""
    kept(store, tmp_path, b"first")
    with pytest.raises(NameTaken):
        kept(store, tmp_path, b"second")

    assert b"".join(store.slices(NAME)) == b"first"


def test_a_file_system_without_hard_links_replaces_nothing_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network file systems have none."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    store = FolderStore(tmp_path / "archive")
    kept(store, tmp_path, b"first")
    with pytest.raises(NameTaken):
        kept(store, tmp_path, b"second")

    assert b"".join(store.slices(NAME)) == b"first"


def test_what_is_put_replaces_what_was_there(store: Store) -> None:
    """A description that is made twice is made once."""
    store.put("2026/11/22/job_a.json", b"{}", "application/json")
    store.put("2026/11/22/job_a.json", b"[]", "application/json")

    assert b"".join(store.slices("2026/11/22/job_a.json")) == b"[]"


def test_it_lists_the_archives_files_and_nothing_else(store: Store, tmp_path: Path) -> None:
    """Retention goes by this list; a download under way is not in it."""
    kept(store, tmp_path, b"four")
    store.put("2026/11/23/job_b.json", b"{}", "application/json")
    if isinstance(store, FolderStore):
        Path(store.root, ".partial", "job_c.1").write_bytes(b"half")

    assert {item.path: item.size_bytes for item in store.items()} == {NAME: 4, "2026/11/23/job_b.json": 2}
    assert all(item.modified_at > 1_700_000_000 for item in store.items())


def test_removing_is_harmless_twice(store: Store, tmp_path: Path) -> None:
    """A worker that died in the middle does it again."""
    kept(store, tmp_path, b"x")
    store.remove([NAME, "2026/11/22/none.mp4"])
    store.remove([NAME])
    assert list(store.items()) == []


def test_a_file_that_is_not_there_is_distinguished_from_trouble(store: Store, tmp_path: Path) -> None:
    """The caller has to answer differently."""
    kept(store, tmp_path, b"x")
    with pytest.raises(NotThere):
        list(store.slices("2026/11/22/none.mp4"))


OUTSIDE = [
    "../outside.mp4",
    "2026/../../outside.mp4",
    "..",
    ".",
    "",
    "/etc/passwd",
    "//etc/passwd",
    "2026//outside.mp4",
    "./outside.mp4",
    "2026/.hidden.mp4",
    ".partial/job_a.1",
    "..\\outside.mp4",
    "%2e%2e/outside.mp4",
    "outside\0.mp4",
    "outside.mp4\n",
    "~/outside.mp4",
    "a b.mp4",
    "ö.mp4",
    "a/" * 600 + "a.mp4",
]


@pytest.mark.parametrize("path", OUTSIDE, ids=[ascii(path)[:40] for path in OUTSIDE])
def test_no_path_leads_out_of_the_archive(store: Store, tmp_path: Path, path: str) -> None:
    """Paths stand in Redis: a person who writes there must neither read nor remove nor write this machine's files."""
    kept(store, tmp_path, b"x")
    (tmp_path / "outside.mp4").write_bytes(b"secret")
    file = a_file(tmp_path, b"y")
    for attempt in (
        lambda: list(store.slices(path)),
        lambda: store.remove([NAME, path] if isinstance(store, FolderStore) else [path, NAME]),
        lambda: store.put(path, b"y", "video/mp4"),
        lambda: store.keep(file, path, "video/mp4", within_s=9),
        lambda: store.signed_url(path, life_s=9) if isinstance(store, BucketStore) else store.local(path),
    ):
        with pytest.raises(StoreError):
            attempt()
    assert (tmp_path / "outside.mp4").read_bytes() == b"secret"
    assert [item.path for item in store.items()] == [NAME]


def test_a_bucket_serves_its_file_by_a_signed_url_with_its_content_type(bucket: Bucket, tmp_path: Path) -> None:
    """With the URL a client needs no credentials; a folder has no such thing."""
    store = BucketStore(bucket.url, ArchiveSettings())
    kept(store, tmp_path, b"the film")

    url = store.signed_url(NAME, life_s=60)
    assert url is not None
    reply = requests.get(url, timeout=10)

    assert (reply.content, reply.headers["content-type"]) == (b"the film", "video/mp4")
    assert FolderStore(tmp_path).signed_url(NAME, life_s=60) is None


def test_an_upload_that_takes_too_long_leaves_no_name_and_no_parts(bucket: Bucket, tmp_path: Path) -> None:
    """Parts of an upload that nobody ends would cost money for ever."""
    store = BucketStore(bucket.url, ArchiveSettings())
    with pytest.raises(StoreError, match="too long"):
        store.keep(a_file(tmp_path, b"x" * 3 * PART_BYTES), NAME, "video/mp4", within_s=-1)
    assert list(store.items()) == []
    assert bucket.unfinished_uploads() == 0


@pytest.fixture(params=["no such bucket", "nobody listens", "no URL at all"])
def broken(request: pytest.FixtureRequest, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> BucketStore:
    """Stores that cannot be used."""
    endpoints = {"no such bucket": bucket.endpoint, "nobody listens": REFUSING, "no URL at all": "junk"}
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoints[request.param])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    return BucketStore("s3://nowhere", ArchiveSettings(total_timeout_s=1))


def test_a_store_that_cannot_be_used_says_so_and_shows_no_secret(broken: BucketStore, tmp_path: Path) -> None:
    """One kind of error for whatever obstore raises, its panics included."""
    file = a_file(tmp_path, b"x")
    for attempt in (
        lambda: broken.keep(file, NAME, "video/mp4", within_s=60),
        lambda: broken.put(NAME, b"x", "video/mp4"),
        lambda: list(broken.slices(NAME)),
        lambda: list(broken.items()),
        broken.check,
    ):
        with pytest.raises(StoreError) as refused:
            attempt()
        assert str(refused.value)
        assert "hunter2" not in str(refused.value)


def test_a_folder_that_is_not_there_is_trouble_and_not_a_missing_file(tmp_path: Path) -> None:
    """The volume may not be mounted on this machine."""
    with pytest.raises(StoreError) as refused:
        list(FolderStore(tmp_path / "unmounted").slices(NAME))
    assert not isinstance(refused.value, NotThere)


@pytest.mark.parametrize(
    "url", ["ftp://x/y", "s3://", "s3:///x", "/var/archive", "s3://key:secret@bucket/x", "s3://b?c=d"]
)
def test_an_address_that_is_no_object_store_stops_the_process(url: str) -> None:
    """A sentence says why, and holds no password."""
    with pytest.raises(ValueError, match=r"object store|credentials") as refused:
        Settings.model_validate({"archive": {"url": url}})
    assert "secret" not in str(refused.value)


def test_an_azure_address_without_an_account_names_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is in the environment; the sentence begins where the person reads."""
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(ConfigurationError, match=r"RUSHES_ARCHIVE__URL cannot be used: .*[Aa]ccount"):
        open_store(Settings.model_validate({"archive": {"url": "az://container/videos"}}))


@pytest.mark.parametrize("url", ["s3://bucket/a/b", "gs://bucket", "az://container/a"])
def test_each_provider_opens_by_its_address(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Opening a store sends no request."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    settings = Settings.model_validate({"archive": {"url": url}})
    assert open_store(settings).root == settings.archive_root == url


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_folder_that_is_a_link_is_not_followed_out_of_the_archive(tmp_path: Path, depth: int) -> None:
    """Somebody who may write to the archive may not thereby read, write or remove what this process may."""
    store, outside = FolderStore(tmp_path / "archive"), tmp_path / "outside"
    inner = outside.joinpath(*NAME.split("/")[depth:-1])
    inner.mkdir(parents=True)
    (inner / Path(NAME).name).write_bytes(b"secret")
    link = Path(store.root, *NAME.split("/")[:depth])
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)

    for act in (
        lambda: list(store.slices(NAME)),
        lambda: store.local(NAME),
        lambda: store.remove([NAME]),
        lambda: kept(store, tmp_path, b"mine"),
        lambda: store.put(NAME, b"mine", "video/mp4"),
    ):
        with pytest.raises(StoreError, match="link"):
            act()
    assert (inner / Path(NAME).name).read_bytes() == b"secret"


def test_a_file_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    """It leads anywhere."""
    store = FolderStore(tmp_path / "archive")
    (tmp_path / "secret").write_bytes(b"secret")
    file = Path(store.root, NAME)
    file.parent.mkdir(parents=True)
    file.symlink_to(tmp_path / "secret")

    with pytest.raises(StoreError, match="link"):
        store.local(NAME)
    with pytest.raises(StoreError, match="link"):
        list(store.slices(NAME))


def test_an_archive_that_is_itself_a_link_is_one(tmp_path: Path) -> None:
    """The operator put it on another disk."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "archive").symlink_to(tmp_path / "disk")
    store = FolderStore(tmp_path / "archive")
    (tmp_path / "disk" / "made").write_bytes(b"mine")

    store.keep(str(tmp_path / "disk" / "made"), NAME, "video/mp4", within_s=60)

    assert b"".join(store.slices(NAME)) == b"mine"
