"""`/v1/models`: which models Rushes knows, and what each takes."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import Field
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from producer.api.guard import GuardedRoute, Reads
from producer.api.problems import Code, Problem, documented
from producer.api.videos import COMMON
from producer.models.views import ModelView, model_view, model_views

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=GuardedRoute)


class ModelList(TypedDict):
    """Every model that Rushes knows."""

    object: Annotated[Literal["list"], Field(description="Always `list`.", examples=["list"])]
    data: Annotated[list[ModelView], Field(description="The models.", examples=[[]])]


@router.get("", summary="List models", responses={200: {"model": ModelList}, **documented(*COMMON)})
def list_models(_caller: Reads) -> Response:
    """The models whose parameters are validated here. Any other vendor's is passed through untouched."""
    answer: ModelList = {"object": "list", "data": model_views()}
    return JSONResponse(answer)


@router.get(
    "/{model:path}",
    summary="Get a model",
    responses={200: {"model": ModelView}, **documented(Code.NOT_FOUND, *COMMON)},
)
def retrieve_model(
    model: Annotated[str, Path(description="The model's name, with its slashes.", examples=["google/veo3"])],
    _caller: Reads,
) -> Response:
    """What a model takes."""
    view = model_view(model)
    if view is None:
        detail = (
            "Rushes does not know this model. One of another vendor can be used all the same: the upstream judges it."
        )
        raise Problem(Code.NOT_FOUND, detail)
    return JSONResponse(view)
