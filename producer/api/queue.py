"""`/v1/queue`: an administrator pauses and resumes buying."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from jobs.pauses import LONGEST_TEXT, Pause
from producer.api.guard import Admins, GuardedRoute, Reads
from producer.api.parts import Needs
from producer.api.problems import Code, documented
from producer.api.videos import COMMON

router = APIRouter(prefix="/v1/queue", tags=["queue"], route_class=GuardedRoute)


class PauseView(TypedDict):
    """A pause of buying."""

    by: Annotated[str, Field(description="Who paused it.", examples=["ops"])]
    reason: Annotated[str, Field(description="Why; may be empty.", examples=["the budget of November is used up"])]
    at: Annotated[float, Field(description="Since when, in seconds since the epoch.", examples=[1795000000.0])]


class QueueView(TypedDict):
    """Whether jobs are bought."""

    object: Annotated[Literal["queue"], Field(description="Always `queue`.", examples=["queue"])]
    paused: Annotated[PauseView | None, Field(description="The pause; null: jobs are bought.", examples=[None])]


class PauseQueue(BaseModel):
    """Why buying is paused."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[
        str,
        Field(
            description="Shown for each job that waits.",
            max_length=LONGEST_TEXT,
            examples=["the budget of November is used up"],
        ),
    ] = ""


_COMMON: Final = (*COMMON, Code.INVALID_REQUEST)
_QUEUE: Final[dict[int | str, dict[str, Any]]] = {200: {"model": QueueView}}


@router.get("", summary="The queue", responses={**_QUEUE, **documented(*_COMMON)})
def show(parts: Needs, _caller: Reads) -> Response:
    """Whether jobs are bought, or by whom and why buying is paused."""
    return _answer(parts.service.paused())


@router.post(
    "/pause", summary="Pause buying", responses={**_QUEUE, **documented(Code.MALFORMED_BODY, Code.TOO_LARGE, *_COMMON)}
)
def pause(body: PauseQueue, parts: Needs, caller: Admins) -> Response:
    """Begin no purchase from now on, in the whole fleet. What has begun goes on to its end; new jobs wait."""
    return _answer(parts.service.pause(by=caller.tenant or "the operator", reason=body.reason))


@router.post("/resume", summary="Resume buying", responses={**_QUEUE, **documented(*_COMMON)})
def resume(parts: Needs, _caller: Admins) -> Response:
    """Go on buying."""
    parts.service.resume()
    return _answer(None)


def _answer(paused: Pause | None) -> Response:
    view: QueueView = {
        "object": "queue",
        "paused": PauseView(by=paused.by, reason=paused.reason, at=paused.at) if paused else None,
    }
    return JSONResponse(view)
