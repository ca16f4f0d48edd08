"""The sandbox as an ASGI application: its endpoints and the parts behind them."""

from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ops.sandbox.account import Account
from ops.sandbox.authentication import Authenticator
from ops.sandbox.cdn import Cdn
from ops.sandbox.clip_cache import ClipCache
from ops.sandbox.control import Control
from ops.sandbox.counters import Counters
from ops.sandbox.envelopes import problem
from ops.sandbox.fault_schedule import FaultSchedule
from ops.sandbox.generation_file import GenerationFile
from ops.sandbox.links import Links
from ops.sandbox.model_endpoints import ModelEndpoints
from ops.sandbox.polls import Polls
from ops.sandbox.render_pool import RenderError, RenderPool
from ops.sandbox.settings import SandboxSettings
from ops.sandbox.state import SandboxState
from ops.sandbox.submits import ANY_PATH, GOOGLE_PATH, Submits


@dataclass(frozen=True, slots=True)
class Counted:
    """Counts replies by status, and requests that got no reply."""

    inner: ASGIApp
    counters: Counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the inner application and count its reply."""
        answered = False

        async def counting(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                self.counters.statuses[message["status"]] += 1
            await send(message)

        try:
            await self.inner(scope, receive, counting)
        finally:
            self.counters.unanswered += not answered


def application(
    settings: SandboxSettings, generation_file: GenerationFile | None, clips_folder: Path, render_pool: RenderPool
) -> ASGIApp:
    """Build the sandbox."""
    counters, fault_schedule = Counters(), FaultSchedule()
    state = SandboxState(settings, generation_file)
    authenticator = Authenticator.for_key(settings.api_key.get_secret_value())
    links = Links(settings, state)
    clips = ClipCache(settings, clips_folder, render_pool)
    polls = Polls(state, authenticator, fault_schedule, clips, links, counters)
    submits = Submits(state, authenticator, fault_schedule, counters)
    account = Account(state, authenticator, fault_schedule, counters)
    model_endpoints = ModelEndpoints(state.random_source)
    cdn = Cdn(clips, links, fault_schedule, counters)
    control = Control(state, fault_schedule, counters)
    routes = [
        Route(ANY_PATH, polls, methods=["GET"]),
        Route(ANY_PATH, submits.accept, methods=["POST"]),
        Route(GOOGLE_PATH, polls, methods=["GET"]),
        Route(GOOGLE_PATH, submits.accept, methods=["POST"]),
        Route("/cdn/generations/{animal}/{name}", cdn.serve),
        Route("/v2/logs", account.logs),
        Route("/v2/billing", account.balance),
        Route("/v2/billing/transactions", account.transactions),
        Route("/v1/models", model_endpoints.models),
        Route("/models/metrics", model_endpoints.metrics),
        Route("/sandbox/faults", control.add_fault, methods=["POST"]),
        Route("/sandbox/faults", control.list_faults, methods=["GET"]),
        Route("/sandbox/faults", control.clear_faults, methods=["DELETE"]),
        Route("/sandbox/purchases", control.purchases),
        Route("/sandbox/requests", control.requests),
        Route("/sandbox/reset", control.reset, methods=["POST"]),
        Route("/sandbox/health", control.health),
    ]
    handlers = {404: not_found, RenderError: not_rendered}
    return Counted(Starlette(routes=routes, exception_handlers=handlers), counters)


async def not_found(request: Request, _error: Exception) -> Response:
    """Answer an unknown path as the real service does."""
    return problem(request.scope, 404, f"Cannot {request.method} {request.url.path}")


async def not_rendered(request: Request, error: Exception) -> Response:
    """Answer 500 when the sandbox could not render a clip."""
    return problem(request.scope, 500, f"The sandbox could not render this clip: {error}")
