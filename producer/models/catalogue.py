"""Which models Rushes knows. Any other model is passed through untouched: the upstream judges it."""

import difflib
import re
from collections import ChainMap
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from producer.models.parameters import (
    Parameters,
    Veo2,
    Veo2Image,
    Veo3,
    Veo3Image,
    Veo31,
    Veo31Extension,
    Veo31Frames,
    Veo31Image,
    Veo31Lite,
    Veo31LitePreview,
    Veo31References,
)
from producer.models.wording import shown

MODELS: Final[Mapping[str, type[Parameters]]] = {
    "google/veo3": Veo3,
    "google/veo-3.0-fast": Veo3,
    "google/veo-3.0-i2v": Veo3Image,
    "google/veo-3.0-i2v-fast": Veo3Image,
    "veo2": Veo2,
    "google/veo2": Veo2,
    "veo2/image-to-video": Veo2Image,
    "google/veo-3.1-t2v": Veo31,
    "google/veo-3.1-t2v-fast": Veo31,
    "google/veo-3.1-i2v": Veo31Image,
    "google/veo-3.1-i2v-fast": Veo31Image,
    "google/veo-3.1-first-last-image-to-video": Veo31Frames,
    "google/veo-3.1-first-last-image-to-video-fast": Veo31Frames,
    "google/veo-3.1-reference-to-video": Veo31References,
    "google/veo3-1-extend-video": Veo31Extension,
    "google/veo3-1-fast-extend-video": Veo31Extension,
    "google/veo-3.1-lite-generate-001": Veo31Lite,
    "veo-3.1-lite-generate-001": Veo31Lite,  # the page's specification leaves "google/" out
    "google/veo-3-1-lite-generate-preview": Veo31LitePreview,
}
OWNER: Final = "google"
"""Whose models they all are."""

_LONGEST_MODEL: Final = 200
_FAMILY: Final = re.compile(r"(?<![a-z])veo", re.IGNORECASE)


class _Untitled(GenerateJsonSchema):
    """Leaves out the titles that would only repeat the parameters' names."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 (pydantic passes it)
        return False


@cache
def schema_of(family: type[Parameters]) -> JsonSchemaValue:
    """The JSON schema of a family's parameters."""
    return family.model_json_schema(schema_generator=_Untitled)


def parameters_of(model: str) -> Mapping[str, Mapping[str, Any]]:
    """The JSON schema of each parameter of a model, by name; none of a model that is not known."""
    family = MODELS.get(model)
    return {} if family is None else schema_of(family)["properties"]


@cache
def all_parameters() -> Mapping[str, Mapping[str, Any]]:
    """The JSON schema of each parameter of any model, by name, as the first model in the list has it."""
    return dict(ChainMap(*(dict(parameters_of(model)) for model in MODELS)))


def defaults_of(model: str) -> Mapping[str, Any]:
    """What the upstream takes for a parameter that is left out, where it publishes that."""
    family = MODELS.get(model)
    return {} if family is None else _defaults(family)


@cache
def _defaults(family: type[Parameters]) -> Mapping[str, Any]:
    return {name: schema["default"] for name, schema in schema_of(family)["properties"].items() if "default" in schema}


def unfamiliar(model: str) -> str | None:
    """A warning about a model that is not known though others of its family are: it may be a slip of the pen."""
    return None if model in MODELS or not _FAMILY.search(model) else _warning(model[:_LONGEST_MODEL])


@lru_cache(maxsize=256)  # every view of a job says it
def _warning(model: str) -> str:
    known = difflib.get_close_matches(model.lower(), MODELS, n=len(MODELS), cutoff=0)
    return f"{shown(model)} is sent to the upstream unjudged: Rushes knows of this family only {', '.join(known)}"


def close_match(model: str) -> str | None:
    """The known model that a misspelt name means; another version is another model."""
    asked = model.lower()
    same_version = [known for known in MODELS if _digits(known) == _digits(asked)]
    reordered = [known for known in same_version if _words(known) == _words(asked)]
    return next(iter(reordered or difflib.get_close_matches(asked, same_version, n=1, cutoff=0.9)), None)


def _words(model: str) -> list[str]:
    return sorted(re.split(r"\W", model))


def _digits(model: str) -> str:
    return "".join(filter(str.isdecimal, model))
