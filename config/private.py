"""Folders and files for their owner only: the state folder holds customers' prompts, and secrets that sign links."""

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
"""Names that Rushes gives in the state folder; what carries another name there may be meant for others."""


def prepare_state(settings: Settings) -> None:
    """Make the state folder for its owner only, and close to others what earlier versions left open in it.

    A folder that somebody else named (RUSHES_STATE_DIR=/srv, RUSHES_ARCHIVE__DIR) keeps its mode: doctor says so.

    Raises:
        OSError: it cannot be made.
    """
    folder = settings.state_dir
    make_folder(folder)
    ours = [folder / name for name in _OURS]
    ours += [settings.archive_dir] if settings.archive.dir is None else []
    ours += [folder] if folder.name == DEFAULT_STATE_DIR.name else []
    for path in ours:
        close_to_others(path)


def make_folder(folder: str | Path, mode: int = FOLDER_MODE) -> None:
    """Make a folder and its missing parents with this mode; one that is there keeps its own.

    Raises:
        OSError: it cannot be made.
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
    """Take group's and others' rights from what belongs to this user; what cannot be changed, doctor names."""
    with suppress(OSError):
        found = os.lstat(path)
        is_ours = found.st_uid == os.geteuid() and not S_ISLNK(found.st_mode)
        if is_ours and found.st_mode & 0o077:
            os.chmod(path, S_IMODE(found.st_mode) & FOLDER_MODE)


def is_open_to_others(path: Path) -> bool:
    """Whether every user of this machine may read, write or enter it; a group's rights were given by somebody."""
    try:
        return bool(path.stat().st_mode & _OTHERS)
    except OSError:
        return False
