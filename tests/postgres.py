"""Debian's PostgreSQL and PgBouncer for tests, each in its own folder and on its own port."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy.engine import make_url

from ops.stack.recipe import free_port
from tests.stage import child, eventually

USER: Final = "rushes"
POOLER_WANTED: Final = "there is no PgBouncer here: apt-get install pgbouncer (.ci/run does it)"
WANTED: Final = "there is no PostgreSQL here: apt-get install postgresql (.ci/run does it)"


def programs() -> Path | None:
    """Find the folder of the newest PostgreSQL's programs, which Debian does not put on the path."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda file: float(file.parts[-3]))
    found = installed[-1] if installed else shutil.which("postgres")
    return Path(found).parent if found else None


@contextmanager
def postgres() -> Iterator[str]:
    """Run PostgreSQL; yields its URL. It refuses to run as root, so root runs it as Debian's user `postgres`."""
    folder_of_programs = programs()
    if folder_of_programs is None:
        pytest.skip(WANTED)
    (folder, owner), port = _own_folder(), free_port()
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


@contextmanager
def pgbouncer(postgres_url: str) -> Iterator[str]:
    """Run PgBouncer before that PostgreSQL, with two connections in transaction mode; yields its URL."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip(POOLER_WANTED)
    (folder, owner), port = _own_folder(), free_port()
    (folder / "users").write_text(f'"{USER}" ""\n')
    lines = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "trust",
        "auth_file": folder / "users",
        "pool_mode": "transaction",
        "default_pool_size": 2,
        "server_round_robin": 1,
    }
    ini = folder / "pgbouncer.ini"
    databases = f"[databases]\n* = host=127.0.0.1 port={make_url(postgres_url).port}\n[pgbouncer]\n"
    ini.write_text(databases + "".join(f"{name} = {value}\n" for name, value in lines.items()))
    log = folder.with_suffix(".log")
    try:
        with child([program, str(ini)], log, cwd=folder, **owner) as process:
            eventually(lambda: process.poll() is not None or _listens(port), what="PgBouncer")
            assert process.poll() is None, log.read_text()
            yield f"postgresql://{USER}@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        log.unlink(missing_ok=True)


def _own_folder() -> tuple[Path, Mapping[str, Any]]:
    """Make a folder, and return the user to run as: neither program runs as root, and pytest's folders are root's."""
    folder = Path(tempfile.mkdtemp(prefix="rushes-postgres-"))
    if os.geteuid() != 0:
        return folder, {}
    shutil.chown(folder, "postgres", "postgres")
    return folder, {"user": "postgres", "group": "postgres"}


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
