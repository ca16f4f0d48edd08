"""A model as the outside sees it, in the words of OpenAI's list of models, with the JSON schema of its parameters."""

from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from producer.models.catalogue import MODELS, OWNER, schema_of


class ModelView(TypedDict):
    """A model that Rushes knows."""

    id: Annotated[str, Field(description="Its name, as a request gives it.", examples=["google/veo3"])]
    object: Annotated[Literal["model"], Field(description="Always `model`.", examples=["model"])]
    owned_by: Annotated[str, Field(description="Whose model it is.", examples=["google"])]
    parameters: Annotated[
        dict[str, Any],
        Field(
            description="The JSON schema of what it takes: type, values, default, and which it requires.",
            examples=[{"type": "object", "required": ["prompt"], "properties": {"prompt": {"type": "string"}}}],
        ),
    ]


def model_view(model: str) -> ModelView | None:
    """A model as plain JSON; None if Rushes does not know it."""
    family = MODELS.get(model)
    if family is None:
        return None
    return {"id": model, "object": "model", "owned_by": OWNER, "parameters": schema_of(family)}


def model_views() -> list[ModelView]:
    """Every model that Rushes knows."""
    return [view for model in MODELS if (view := model_view(model))]
