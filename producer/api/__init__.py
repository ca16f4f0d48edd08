"""The HTTP API: FastAPI over the service. `uvicorn producer.api:app`, or `python -m producer.api`."""

from typing import TYPE_CHECKING, Any, Final

DRAIN_S: Final = 20
"""How long open requests may take when the API stops; docker-compose.yml gives it 30 s."""

if TYPE_CHECKING:
    from fastapi import FastAPI

    app: FastAPI


def __getattr__(name: str) -> Any:
    """Make `app` on first access, so that importing a part of this package reads no settings."""
    if name != "app":
        raise AttributeError(name)
    from config.settings import load  # noqa: PLC0415 (only a server needs them)
    from producer.api.application import make_app  # noqa: PLC0415 (as above)

    return make_app(load())
