"""What of this process's environment its children get: not what was set for other programs."""

from collections.abc import Mapping
from typing import Final

LOCAL_NAMES: Final = ("127.0.0.1", "localhost", "::1")

_CELERY: Final = ("APP", "BROKER_URL", "RESULT_BACKEND", "LOADER", "CONFIG_MODULE", "SKIP_CHECKS")
"""Celery's command reads these, and all of CELERY_*; they outrank our broker and queues."""

_SERVERS: Final = ("FLOWER_", "UVICORN_", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS")
"""Read by Flower and uvicorn: of use to a deployment, but `rushes up` decides where its own listen."""

_PYTHON: Final = (
    "PYTHONWARNINGS",
    "PYTHONSTARTUP",
    "PYTHONINSPECT",
    "PYTHONOPTIMIZE",
    "PYTHONIOENCODING",
    "PYTHONUTF8",
)


def for_part(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a worker, API or Flower: without what would make Celery or Python another."""
    return {
        name: value
        for name, value in environment.items()
        if not (name in _CELERY or name in _PYTHON or name.startswith("CELERY_"))
    }


def for_stack(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child of `rushes up`: a proxy reaches it, but not for what is on this machine."""
    kept = {
        name: value
        for name, value in for_part(environment).items()
        if name == "FLOWER_BASIC_AUTH" or not name.startswith(_SERVERS)
    }
    beside = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    direct = beside if beside.strip() == "*" else ",".join(filter(None, (beside, *LOCAL_NAMES)))
    return {**kept, "PYTHONUTF8": "1", "NO_PROXY": direct, "no_proxy": direct}
