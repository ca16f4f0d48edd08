"""`/v1/limits`: an administrator shows and sets how much is bought at once."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from producer.api.guard import Admins, GuardedRoute
from producer.api.parts import Needs, Parts
from producer.api.problems import Code, ErrorDetail, Problem, documented
from producer.api.videos import COMMON
from producer.limits import SCOPE, limits_view, parsed_limit

router = APIRouter(prefix="/v1/limits", tags=["limits"], route_class=GuardedRoute)


class LimitView(TypedDict):
    """The limits of one scope, as they hold now."""

    object: Annotated[Literal["limit"], Field(description="Always `limit`.", examples=["limit"])]
    scope: Annotated[
        str,
        Field(description="`account`, `tenants` (each without limits of its own) or `tenant:T`.", examples=["account"]),
    ]
    in_flight: Annotated[
        int | None, Field(description="Generations that run upstream at once; null: no limit.", examples=[20])
    ]
    per_min: Annotated[float | None, Field(description="Purchases in any minute; null: no limit.", examples=[30.0])]
    weight: Annotated[
        float | None, Field(description="A tenant's part of the purchases beside others; null: 1.", examples=[None])
    ]
    is_set: Annotated[bool, Field(description="Whether it was set here; else the settings say it.", examples=[False])]


class LimitList(TypedDict):
    """Every limit, and what runs."""

    object: Annotated[Literal["list"], Field(description="Always `list`.", examples=["list"])]
    in_flight: Annotated[int, Field(description="Generations that run upstream now.", examples=[12])]
    learnt: Annotated[
        int | None,
        Field(
            description="How many may run at once, as the upstream's 429s taught; null: no 429 yet.", examples=[None]
        ),
    ]
    data: Annotated[
        list[LimitView], Field(description="The limits: account, tenants, then each tenant's own.", examples=[[]])
    ]


class SetLimit(BaseModel):
    """The limits to set; what is not named stays. `"none"`: no limit."""

    model_config = ConfigDict(extra="forbid")

    in_flight: Annotated[
        int | Literal["none"] | None, Field(description="Generations that run upstream at once.", examples=[20])
    ] = None
    per_min: Annotated[float | Literal["none"] | None, Field(description="Purchases in any minute.", examples=[30])] = (
        None
    )
    weight: Annotated[
        float | None, Field(description="A tenant's part of the purchases beside others.", gt=0, le=1000, examples=[2])
    ] = None


Scope = Annotated[
    str,
    Path(description="`account`, `tenants` or `tenant:T`.", pattern=f"^({SCOPE.pattern})$", examples=["tenant:shop"]),
]
_COMMON: Final = (*COMMON, Code.INVALID_REQUEST)
_LIMITS: Final[dict[int | str, dict[str, Any]]] = {200: {"model": LimitList}}


@router.get("", summary="The limits", responses={**_LIMITS, **documented(*_COMMON)})
def show(parts: Needs, _caller: Admins) -> Response:
    """Every limit as it holds now, with what runs upstream."""
    return _answer(parts)


@router.put(
    "/{scope}", summary="Set limits", responses={**_LIMITS, **documented(Code.MALFORMED_BODY, Code.TOO_LARGE, *_COMMON)}
)
def set_limit(scope: Scope, body: SetLimit, parts: Needs, _caller: Admins) -> Response:
    """Set limits of a scope, for the whole fleet and at once."""
    try:
        limit = parsed_limit(scope, in_flight=body.in_flight, per_min=body.per_min, weight=body.weight)
    except ValueError as error:
        name, _, message = str(error).partition(": ")
        detail = ErrorDetail(f"body.{name}" if message else "body", message or name)
        raise Problem(Code.INVALID_REQUEST, "Correct the limits; nothing was set.", errors=(detail,)) from None
    parts.service.set_limit(scope, limit)
    return _answer(parts)


@router.delete("/{scope}", summary="Unset limits", responses={**_LIMITS, **documented(*_COMMON)})
def unset_limit(scope: Scope, parts: Needs, _caller: Admins) -> Response:
    """Forget what was set for a scope: the settings hold again. The account also forgets what it learnt."""
    parts.service.unset_limit(scope)
    return _answer(parts)


def _answer(parts: Parts) -> Response:
    return JSONResponse(limits_view(parts.service.holds()))
