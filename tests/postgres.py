"""A real PostgreSQL for the tests: Debian's own, in a folder of its own, on a port of its own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from ops.stack.recipe import free_port
from tests.stage import child, eventually

USER: Final = "rushes"
WANTED: Final = "there is no PostgreSQL here: apt-get install postgresql (.ci/run does it)"


def programs() -> Path | None:
    """The folder of the newest PostgreSQL's programs, which Debian keeps off the path."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda file: float(file.parts[-3]))
    found = installed[-1] if installed else shutil.which("postgres")
    return Path(found).parent if found else None


@contextmanager
def postgres() -> Iterator[str]:
    """Start one; yields its address. It refuses to run as root: then it runs as the user that Debian made for it."""
    folder_of_programs = programs()
    if folder_of_programs is None:
        pytest.skip(WANTED)
    # Not pytest's own folder, which nobody but root may enter.
    folder, port = Path(tempfile.mkdtemp(prefix="rushes-postgres-")), free_port()
    owner: Mapping[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    if owner:
        shutil.chown(folder, "postgres", "postgres")
    data = folder / "data"
    initdb = [str(folder_of_programs / "initdb"), "-D", str(data), "-U", USER, "--auth=trust", "--no-sync"]
    subprocess.run([*initdb, "--encoding=UTF8", "--locale=C"], check=True, capture_output=True, cwd=folder, **owner)
    options = ["-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-F", "-c", "max_connections=50"]
    server = [str(folder_of_programs / "postgres"), "-D", str(data), *options]
    ready = [str(folder_of_programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port), "-U", USER]
    try:
        with child(server, folder.with_suffix(".log"), cwd=folder, **owner):
            eventually(lambda: subprocess.run(ready, check=False).returncode == 0, within_s=60, what="PostgreSQL")
            yield f"postgresql://{USER}@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".log").unlink(missing_ok=True)
