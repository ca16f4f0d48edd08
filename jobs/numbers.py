"""The numbers in rows: bounded, so that no value from Redis breaks a calculation."""

from typing import Annotated, Final

from pydantic import Field, WithJsonSchema

_MOST: Final = 1e12
"""No time in seconds, no sum in dollars and no count is larger."""

Number = Annotated[float, Field(gt=-_MOST, lt=_MOST), WithJsonSchema({"type": "number"})]
Count = Annotated[int, Field(gt=-_MOST, lt=_MOST), WithJsonSchema({"type": "integer"})]
