"""Folders and files for their owner only: the state folder contains prompts, and secrets that sign links."""

import os
from contextlib import suppress
from pathlib import Path
from stat import S_IMODE, S_ISLNK
from typing import Final

from config.settings import DEFAULT_STATE_DIR, Settings

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700
_OTHERS: Final = 0o007
_SQLITE: Final = ("videos.sqlite", "videos.sqlite-wal", "videos.sqlite-shm")
_OURS: Final = ("spool", "valkey", "sandbox", "demo", *_SQLITE)
"""Rushes' own names in the state folder; files with other names may be meant for others."""


def prepare_state(settings: Settings) -> None:
    """Make the state folder for its owner only, and remove others' rights from Rushes' files in it.

    A folder that the user chose (RUSHES_STATE_DIR=/srv, RUSHES_ARCHIVE__DIR) keeps its mode; doctor warns of it.

    Raises:
        OSError: it cannot be created.
    """
    folder = settings.state_dir
    make_folder(folder)
    ours = [folder / name for name in _OURS]
    ours += [settings.archive_dir] if settings.archive.dir is None else []
    ours += [folder] if folder.name == DEFAULT_STATE_DIR.name else []
    for path in ours:
        close_to_others(path)


def make_folder(folder: str | Path, mode: int = FOLDER_MODE) -> None:
    """Make a folder and its missing parents with this mode; an existing one keeps its mode.

    Raises:
        OSError: it cannot be created.
    """
    folder = os.fspath(folder)
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(folder)
    if parent and not os.path.lexists(parent):
        make_folder(parent, mode)
    try:
        os.mkdir(folder, mode)
    except FileExistsError:
        if not os.path.isdir(folder):
            raise


def close_to_others(path: str | Path) -> None:
    """Remove the rights of group and others from this user's file; doctor reports what cannot be changed."""
    with suppress(OSError):
        found = os.lstat(path)
        is_ours = found.st_uid == os.geteuid() and not S_ISLNK(found.st_mode)
        if is_ours and found.st_mode & 0o077:
            os.chmod(path, S_IMODE(found.st_mode) & FOLDER_MODE)


def is_open_to_others(path: Path) -> bool:
    """Whether every user of this machine may read, write or enter it; a group's rights are deliberate."""
    try:
        return bool(path.stat().st_mode & _OTHERS)
    except OSError:
        return False
