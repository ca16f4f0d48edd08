"""`python -m producer.api`: the API on uvicorn, with the settings of this deployment."""

import sys
from typing import Final

import uvicorn

import config.celery_app  # noqa: F401  (the first request would wait for it)
from config.logs import configure
from config.open_files import allow
from config.settings import ConfigurationError, load
from producer.api import DRAIN_S
from producer.api.application import make_app
from producer.api.connection import Connection

CONNECTIONS: Final = 65_536
"""The most connected clients, if the system allows as many open files; most of them wait for an event."""

OTHER_FILES: Final = 256
"""Open files that are not clients: Redis, videos that are sent, logs."""


def main() -> int:
    """Serve until a signal stops it; requests under way are finished first."""
    try:
        settings = load()
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    configure(settings)
    most_files = allow(CONNECTIONS + OTHER_FILES)
    uvicorn.run(
        make_app(settings),
        host=settings.api.host,
        port=settings.api.port,
        http=Connection,
        ws="none",
        limit_concurrency=max(most_files - OTHER_FILES, most_files // 2),
        log_config=None,
        access_log=False,
        workers=1,  # unset, WEB_CONCURRENCY decides, and uvicorn refuses more than one for an app that is built here
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
