"""The sandbox as an ASGI application: every endpoint and what it is made of."""

from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ops.sandbox.account import Account
from ops.sandbox.authentication import Authenticator
from ops.sandbox.book import Book
from ops.sandbox.cdn import Cdn
from ops.sandbox.clips import Clips
from ops.sandbox.control import Control
from ops.sandbox.envelopes import problem
from ops.sandbox.links import Links
from ops.sandbox.polls import Polls
from ops.sandbox.render_pool import RenderError, RenderPool
from ops.sandbox.settings import SandboxSettings
from ops.sandbox.showroom import Showroom
from ops.sandbox.studio import Studio
from ops.sandbox.submits import ANY_PATH, GOOGLE_PATH, Submits
from ops.sandbox.tally import Tally
from ops.sandbox.troublemaker import Troublemaker


@dataclass(frozen=True, slots=True)
class Counted:
    """Counts every reply by its status, and those that never came."""

    inner: ASGIApp
    tally: Tally

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count what comes back."""
        answered = False

        async def counting(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                self.tally.statuses[message["status"]] += 1
            await send(message)

        try:
            await self.inner(scope, receive, counting)
        finally:
            self.tally.unanswered += not answered


def application(settings: SandboxSettings, book: Book | None, clips_folder: Path, render_pool: RenderPool) -> ASGIApp:
    """Put the sandbox together."""
    tally, troublemaker = Tally(), Troublemaker()
    studio = Studio(settings, book)
    authenticator = Authenticator.for_key(settings.api_key.get_secret_value())
    links = Links(settings, studio)
    clips = Clips(settings, clips_folder, render_pool)
    polls = Polls(studio, authenticator, troublemaker, clips, links, tally)
    submits = Submits(studio, authenticator, troublemaker, tally)
    account = Account(studio, authenticator, troublemaker, tally)
    showroom = Showroom(studio.dice)
    cdn = Cdn(clips, links, troublemaker, tally)
    control = Control(studio, troublemaker, tally)
    routes = [
        Route(ANY_PATH, polls, methods=["GET"]),
        Route(ANY_PATH, submits.take, methods=["POST"]),
        Route(GOOGLE_PATH, polls, methods=["GET"]),
        Route(GOOGLE_PATH, submits.take, methods=["POST"]),
        Route("/cdn/generations/{animal}/{name}", cdn.serve),
        Route("/v2/logs", account.logs),
        Route("/v2/billing", account.balance),
        Route("/v2/billing/transactions", account.transactions),
        Route("/v1/models", showroom.models),
        Route("/models/metrics", showroom.metrics),
        Route("/sandbox/trouble", control.add_trouble, methods=["POST"]),
        Route("/sandbox/trouble", control.list_trouble, methods=["GET"]),
        Route("/sandbox/trouble", control.clear_trouble, methods=["DELETE"]),
        Route("/sandbox/purchases", control.purchases),
        Route("/sandbox/requests", control.requests),
        Route("/sandbox/reset", control.reset, methods=["POST"]),
        Route("/sandbox/health", control.health),
    ]
    handlers = {404: not_found, RenderError: not_rendered}
    return Counted(Starlette(routes=routes, exception_handlers=handlers), tally)


async def not_found(request: Request, _error: Exception) -> Response:
    """The service's own words for a path that it does not have."""
    return problem(request.scope, 404, f"Cannot {request.method} {request.url.path}")


async def not_rendered(request: Request, error: Exception) -> Response:
    """A clip that could not be rendered is the sandbox's own fault, and says so."""
    return problem(request.scope, 500, f"The sandbox could not render this clip: {error}")
