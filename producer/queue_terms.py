"""How a request waits for its purchase: the same fields in the API and in batch files."""

from typing import Annotated

from pydantic import BaseModel, Field

from jobs.job import LONGEST_WAIT_S, Priority


class QueueTerms(BaseModel):
    """When a request may be bought, until when, and before which others."""

    priority: Annotated[
        Priority,
        Field(
            description="Its place among your own queued jobs: high is bought as if it came an hour earlier.",
            examples=["high"],
        ),
    ] = Priority.NORMAL
    delay_s: Annotated[
        float | None,
        Field(description="Seconds until it may be bought.", gt=0, le=LONGEST_WAIT_S, examples=[3600]),
    ] = None
    queue_ttl_s: Annotated[
        float | None,
        Field(
            description="Seconds that it may wait for its purchase; then it expires, and nothing was bought.",
            gt=0,
            le=LONGEST_WAIT_S,
            examples=[7200],
        ),
    ] = None
