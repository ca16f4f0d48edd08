"""Filters the environment for child processes: removes variables that are meant for other programs."""

from collections.abc import Mapping
from typing import Final

LOCAL_NAMES: Final = ("127.0.0.1", "localhost", "::1")

_CELERY: Final = ("APP", "BROKER_URL", "RESULT_BACKEND", "LOADER", "CONFIG_MODULE", "SKIP_CHECKS")
"""Celery's command reads these and CELERY_*; they would override our broker and queues."""

_SERVERS: Final = ("FLOWER_", "UVICORN_", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS")
"""Flower and uvicorn read these; `rushes up` chooses their addresses itself."""

_PYTHON: Final = (
    "PYTHONWARNINGS",
    "PYTHONSTARTUP",
    "PYTHONINSPECT",
    "PYTHONOPTIMIZE",
    "PYTHONIOENCODING",
    "PYTHONUTF8",
)


def for_part(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a worker, API or Flower, without variables that reconfigure Celery or Python."""
    return {
        name: value
        for name, value in environment.items()
        if not (name in _CELERY or name in _PYTHON or name.startswith("CELERY_"))
    }


def for_stack(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a child of `rushes up`, with proxies, but not for this machine."""
    kept = {
        name: value
        for name, value in for_part(environment).items()
        if name == "FLOWER_BASIC_AUTH" or not name.startswith(_SERVERS)
    }
    given = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    direct = given if given.strip() == "*" else ",".join(filter(None, (given, *LOCAL_NAMES)))
    return {**kept, "PYTHONUTF8": "1", "NO_PROXY": direct, "no_proxy": direct}
