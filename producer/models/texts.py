"""Values that come as text, from a form or a CSV file, read as what the model's parameter takes."""

import json
import math
import re
from typing import Any, Final

from producer.models.catalogue import all_parameters, parameters_of

_LONGEST_NUMBER: Final = 60
_NUMBER: Final = re.compile(r"-?(0|[1-9]\d{0,18})(\.\d{1,40})?([eE][+-]?\d{1,3})?", re.ASCII)
_FLAGS: Final = {"true": True, "false": False}
_BITS: Final = {"1": True, "0": False}


def read_text(model: str, name: str, text: str) -> Any:
    """What a parameter's text stands for, by its type; text that does not fit stays text, and is refused as such.

    An unknown model's is a number or boolean wherever it reads as one in JSON, so that 0.5 reaches the upstream as a
    number, unless all known models take that parameter as text.
    """
    schema = parameters_of(model).get(name) or all_parameters().get(name) or {}
    match schema.get("type"):
        case "string" | "array":
            return text
        case "boolean" if name in parameters_of(model):
            return (_FLAGS | _BITS).get(text.strip().lower(), text)
        case _:
            return _scalar(text)


def _scalar(text: str) -> Any:
    """A number or a boolean, also as Python writes it; anything else stays text."""
    plain = text.strip() if len(text) <= _LONGEST_NUMBER else ""
    if plain.lower() in _FLAGS:
        return _FLAGS[plain.lower()]
    number = json.loads(plain) if _NUMBER.fullmatch(plain) else math.inf
    return number if math.isfinite(number) else text
