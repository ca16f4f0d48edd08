"""What Rushes keeps on a machine is for the user alone who runs it."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from config.private import close_to_others, make_folder, prepare_state
from config.settings import Settings
from config.store import FolderStore
from tests.worker.films import MP4
from tests.worker.servers import Server, answer
from tests.worker.test_archive import JOB, NAME, fetch
from worker.archive.partials import Partials
from worker.spool import Spool


@pytest.fixture(autouse=True, params=[0o022, 0o002, 0o000, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """Set a umask as a user may have it."""
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that serves as CDN."""
    with Server.started() as started:
        yield started


def mode(path: Path) -> int:
    """The permission bits of a path."""
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_made_is_its_owners_alone(server: Server, tmp_path: Path) -> None:
    """Folders get mode 0700 and files 0600, missing parents included."""
    state = tmp_path / "some" / "where" / ".rushes"
    prepare_state(Settings(state_dir=state))
    Spool(state / "spool")
    with Partials(state / "archive" / ".partial").opened("job_a", 1):
        pass
    server.on(answer(MP4))
    fetch(state / "archive", server.url)
    FolderStore(state / "archive").put("2024/11/21/job_a.json", b"{}", "application/json")

    found = list(tmp_path.rglob("*"))
    assert {mode(path) for path in found if path.is_dir()} == {0o700}
    assert {mode(path) for path in found if path.is_file()} == {0o600}
    assert len([path for path in found if path.is_file()]) == 2


OURS: Final = ("archive", "spool", "valkey", "sandbox", "demo")


def test_what_an_earlier_version_left_open_is_closed(tmp_path: Path) -> None:
    """The embedded server's files hold the secret that signs links."""
    state = tmp_path / ".rushes"
    for name in OURS:
        make_folder(state / name, 0o755)
    for path in (state, *(state / name for name in OURS)):
        path.chmod(0o755)
    for name in ("videos.sqlite", "videos.sqlite-wal", "videos.sqlite-shm"):
        (state / name).touch()
        (state / name).chmod(0o644)

    prepare_state(Settings(state_dir=state))

    assert {mode(path) for path in (state, *state.iterdir()) if path.is_dir()} == {0o700}
    assert {mode(path) for path in state.iterdir() if path.is_file()} == {0o600}


def test_what_somebody_else_named_or_owns_keeps_its_mode(tmp_path: Path) -> None:
    """The state folder may be /srv, and a link may lead anywhere; only doctor speaks of these."""
    state, elsewhere = tmp_path / "srv", tmp_path / "archive"
    for folder in (state, elsewhere):
        folder.mkdir()
        folder.chmod(0o755)
    (state / "archive").symlink_to(elsewhere)
    (state / "reports").mkdir()
    (state / "reports").chmod(0o755)
    if os.geteuid() == 0:
        (state / "spool").mkdir()
        (state / "spool").chmod(0o755)
        os.chown(state / "spool", 65534, 65534)

    prepare_state(Settings(state_dir=state))
    prepare_state(Settings.model_validate({"state_dir": tmp_path, "archive": {"dir": elsewhere}}))

    assert {mode(path) for path in (state, elsewhere, *state.iterdir())} == {0o755}
    close_to_others(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("archive", "file"), [(0o750, 0o640), (0o755, 0o644), (0o2770, 0o640), (0o1777, 0o644), (0o711, 0o600)], ids=oct
)
def test_who_may_read_the_archives_folder_may_read_its_files(
    server: Server, tmp_path: Path, archive: int, file: int
) -> None:
    """An operator who opened it to a web server's group meant the videos; nobody else may ever write them."""
    root = tmp_path / "archive"
    root.mkdir()
    root.chmod(archive)
    server.on(answer(MP4))

    fetch(root, server.url)

    assert mode(root / NAME) == file
    assert mode(root) == archive
    assert JOB in (root / NAME).name


def test_a_file_in_the_way_is_reported(tmp_path: Path) -> None:
    """The error has the system's own words."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"exists|directory"):
            make_folder(path)
