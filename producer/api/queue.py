"""`/v1/queue`: an administrator pauses and resumes buying, or tries at once what the upstream refused."""

from typing import Annotated, Any, Final, Literal, Self

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from jobs.pauses import LONGEST_TEXT, what_of
from producer.api.guard import Admins, GuardedRoute, Reads
from producer.api.parts import Needs, Parts
from producer.api.problems import Code, documented
from producer.api.videos import COMMON
from producer.trials import TriedView, tried_view

router = APIRouter(prefix="/v1/queue", tags=["queue"], route_class=GuardedRoute)


class PauseView(TypedDict):
    """A pause of buying."""

    by: Annotated[str, Field(description="Who paused it.", examples=["ops"])]
    reason: Annotated[str, Field(description="Why; may be empty.", examples=["the budget of November is used up"])]
    at: Annotated[float, Field(description="Since when, in seconds since the epoch.", examples=[1795000000.0])]
    what: Annotated[
        str | None, Field(description="`tenant:T` or `model:M`; null: everything.", examples=["tenant:shop"])
    ]


class QueueView(TypedDict):
    """Whether jobs are bought."""

    object: Annotated[Literal["queue"], Field(description="Always `queue`.", examples=["queue"])]
    paused: Annotated[
        PauseView | None, Field(description="The pause of everything; null: there is none.", examples=[None])
    ]
    pauses: Annotated[list[PauseView], Field(description="Every pause.", examples=[[]])]


class Paused(BaseModel):
    """What is paused: everything, a tenant or a model."""

    model_config = ConfigDict(extra="forbid")

    tenant: Annotated[str | None, Field(description="Only this tenant's jobs.", max_length=63, examples=["shop"])] = (
        None
    )
    model: Annotated[
        str | None, Field(description="Only jobs of this model.", max_length=200, examples=["google/veo3"])
    ] = None

    @property
    def what(self) -> str | None:
        """The pause's name."""
        return what_of(tenant=self.tenant, model=self.model)

    @model_validator(mode="after")
    def _one(self) -> Self:
        what_of(tenant=self.tenant, model=self.model)
        return self


class PauseQueue(Paused):
    """What is to be paused, and why."""

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
_WITH_BODY: Final = documented(Code.MALFORMED_BODY, Code.TOO_LARGE, *_COMMON)


@router.get("", summary="The queue", responses={**_QUEUE, **documented(*_COMMON)})
def show(parts: Needs, _caller: Reads) -> Response:
    """Whether jobs are bought, or of what, by whom and why buying is paused."""
    return _answer(parts)


@router.post("/pause", summary="Pause buying", responses={**_QUEUE, **_WITH_BODY})
def pause(body: PauseQueue, parts: Needs, caller: Admins) -> Response:
    """Begin no purchase from now on, in the whole fleet. What has begun goes on to its end; new jobs wait."""
    parts.service.pause(by=caller.tenant or "the operator", reason=body.reason, what=body.what)
    return _answer(parts)


@router.post("/resume", summary="Resume buying", responses={**_QUEUE, **_WITH_BODY})
def resume(parts: Needs, _caller: Admins, body: Paused | None = None) -> Response:
    """Go on buying."""
    parts.service.resume(what=body.what if body else None)
    return _answer(parts)


@router.post("/try", summary="Try now", responses={200: {"model": TriedView}, **documented(*_COMMON)})
def try_now(parts: Needs, _caller: Admins) -> Response:
    """Try at once what the upstream refused, after a top-up for instance: one request, and after its success all."""
    return JSONResponse(tried_view(parts.service.try_now()))


def _answer(parts: Parts) -> Response:
    pauses = [
        PauseView(by=pause.by, reason=pause.reason, at=pause.at, what=pause.what) for pause in parts.service.pauses()
    ]
    whole = next((pause for pause in pauses if pause["what"] is None), None)
    view: QueueView = {"object": "queue", "paused": whole, "pauses": pauses}
    return JSONResponse(view)
