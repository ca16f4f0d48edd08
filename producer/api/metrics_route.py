"""`/metrics`, for Prometheus. It covers all tenants, so its key has a scope of its own."""

from typing import Final

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from producer.api.guard import GuardedRoute, Scrapes
from producer.api.parts import Needs
from producer.api.problems import Code, documented

router = APIRouter(tags=["health"], route_class=GuardedRoute)

_REFUSALS: Final = (
    Code.INVALID_REQUEST,
    Code.UNAUTHORIZED,
    Code.FORBIDDEN,
    Code.NOT_LOCAL,
    Code.RATE_LIMITED,
    Code.LEDGER_UNAVAILABLE,
)


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "The text format."},
        **documented(*_REFUSALS),
    },
    response_class=Response,
)
def metrics(parts: Needs, _caller: Scrapes) -> Response:
    """Requests to this process, and the state of the whole fleet: jobs, queues, breakers, receivers, workers, Redis."""
    return Response(parts.metrics.text(), media_type=CONTENT_TYPE_LATEST)
