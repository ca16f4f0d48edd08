"""Numbers as rows hold them: bounded, so that no sum or time that is read from Redis breaks what counts with it."""

from typing import Annotated, Final

from pydantic import Field, WithJsonSchema

_MOST: Final = 1e12
"""No time in seconds, no sum in dollars and no count is larger."""

Number = Annotated[float, Field(gt=-_MOST, lt=_MOST), WithJsonSchema({"type": "number"})]
Count = Annotated[int, Field(gt=-_MOST, lt=_MOST), WithJsonSchema({"type": "integer"})]
