"""`/healthz`: is this process alive; `/readyz`: would a worker run a job submitted now."""

from http import HTTPStatus
from typing import Annotated, Final, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from config.settings import Settings
from jobs.errors import LedgerUnavailable
from producer.api.parts import Needs
from producer.api.problems import Code, documented

router = APIRouter(tags=["health"])

SEEN_WITHIN_S: Final = 30.0
MISSED_ROUNDS: Final = 5


class Alive(TypedDict):
    """The process replies."""

    status: Annotated[Literal["alive"], Field(description="Always `alive`.", examples=["alive"])]


class Readiness(TypedDict):
    """Whether a worker would run a job submitted now, and what is missing."""

    ready: Annotated[bool, Field(description="Redis is ok and there is a worker.", examples=[True])]
    redis: Annotated[str, Field(description="`ok`, or what is wrong with it.", examples=["ok"])]
    workers: Annotated[int, Field(description="Workers with a recent heartbeat.", examples=[2])]
    paused: Annotated[bool, Field(description="Buying is paused: jobs are accepted, and wait.", examples=[False])]


def seen_within_s(settings: Settings) -> float:
    """Return the seconds after which a silent worker counts as gone."""
    return max(SEEN_WITHIN_S, MISSED_ROUNDS * settings.rescue.every_s)


@router.get("/healthz", summary="Alive", responses={200: {"model": Alive}, **documented(Code.INVALID_REQUEST)})
async def healthz() -> Response:
    """The process is alive; Redis and workers are not checked."""
    return JSONResponse({"status": "alive"})


@router.get(
    "/readyz",
    summary="Ready",
    responses={
        200: {"model": Readiness},
        503: {"model": Readiness, "description": "Something is missing."},
        **documented(Code.INVALID_REQUEST),
    },
)
def readyz(parts: Needs) -> Response:
    """Redis takes writes, and at least one worker has a recent heartbeat."""
    within_s = seen_within_s(parts.settings)
    try:
        parts.service.check_writable()
        workers, redis, paused = parts.service.workers(within_s=within_s), "ok", parts.service.paused() is not None
    except LedgerUnavailable as error:
        workers, redis, paused = [], str(error)[:200], False
    ready = redis == "ok" and bool(workers)
    answer: Readiness = {"ready": ready, "redis": redis, "workers": len(workers), "paused": paused}
    return JSONResponse(answer, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)
