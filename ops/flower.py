"""`python -m ops.flower`: Flower for our app; without a password it answers only requests from this machine."""

import os
import sys
from http import HTTPStatus
from typing import Any, Final

import flower.command
from celery.__main__ import main as celery
from flower.app import Flower
from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from config.addresses import is_loopback, leads_here
from config.settings import ConfigurationError, Settings, load

COLUMNS: Final = "name,state,args,result,received,runtime,worker"
"""What the list of tasks shows: a task's result says what it did, and to which jobs."""


class GuardedFlower(Flower):  # type: ignore[misc] # it ships no types
    """Flower that, without a password, refuses other machines and foreign web pages, as the API does."""

    def find_handler(self, request: HTTPServerRequest, **how: Any) -> Any:
        """Return the handler of a request."""
        if self.options.basic_auth or self.options.auth or _is_local(request):
            return super().find_handler(request, **how)
        return self.get_handler_delegate(request, _NotLocal)


class _NotLocal(RequestHandler):
    def check_xsrf_cookie(self) -> None:
        """Skip the check, because `prepare` refuses every request."""

    def prepare(self) -> None:
        """Refuse every method."""
        self.set_status(HTTPStatus.FORBIDDEN)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(
            "Without a password, Flower answers to 127.0.0.1 and localhost only. Set RUSHES_FLOWER__BASIC_AUTH.\n"
        )


def _is_local(request: HTTPServerRequest) -> bool:
    """Whether a request comes from this machine and names it; a foreign page may resolve here (DNS rebinding)."""
    origin = request.headers.get("Origin")
    called_here = leads_here(f"//{request.headers.get('Host', '')}")
    return is_loopback(request.remote_ip or "") and called_here and (not origin or leads_here(origin))


def defaults(settings: Settings) -> dict[str, str]:
    """Return defaults for Flower's variables."""
    chosen = {
        "FLOWER_ADDRESS": "127.0.0.1",
        "FLOWER_PORT": str(settings.flower.port),
        # By default Flower enables task events for the whole fleet, which RUSHES_WORKER__TASK_EVENTS must decide.
        "FLOWER_ENABLE_EVENTS": "false",
        "FLOWER_TASKS_COLUMNS": COLUMNS,
    }
    if settings.flower.basic_auth:
        chosen["FLOWER_BASIC_AUTH"] = settings.flower.basic_auth.get_secret_value()
    return chosen


def main() -> None:
    """Run `celery flower` with these defaults; its options and variables override them."""
    try:
        settings = load()
    except ConfigurationError as error:
        sys.exit(str(error))
    for name, value in defaults(settings).items():
        os.environ.setdefault(name, value)
    flower.command.Flower = GuardedFlower
    sys.argv = ["celery", "--app", "worker.app", "flower", *sys.argv[1:]]
    celery()


if __name__ == "__main__":
    main()
