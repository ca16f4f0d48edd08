"""Says what is tried at once, as JSON and in words."""

from collections.abc import Collection, Iterator
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from jobs.breakers import Breaker, Tried
from jobs.pauses import Pause
from producer.counted import counted
from producer.waiting import paused_until


class TriedView(TypedDict):
    """What is tried at once."""

    object: Annotated[Literal["queue.trial"], Field(description="Always `queue.trial`.", examples=["queue.trial"])]
    breakers: Annotated[
        list[Breaker],
        Field(
            description="The kinds of request that the upstream refused to all jobs: of each the next one is tried.",
            examples=[["submit"]],
        ),
    ]
    jobs: Annotated[int, Field(description="How many held jobs wait for nothing else now.", examples=[3])]


def tried_view(tried: Tried) -> TriedView:
    """Return it as JSON."""
    return {"object": "queue.trial", "breakers": list(tried.breakers), "jobs": tried.jobs}


def tried_in_words(tried: Tried, pauses: Collection[Pause] = ()) -> str:
    """Say it to a person, and what still holds purchases back."""
    said = list(_tried(tried)) or ["No job waits because of a refusal: there is nothing to try."]
    return " ".join([*said, *map(paused_until, pauses)])


def _tried(tried: Tried) -> Iterator[str]:
    if Breaker.SUBMIT in tried.breakers:
        yield "The next purchase is tried now; if it succeeds, all go on."
    elif tried.jobs:
        yield f"{counted(tried.jobs, 'held job is', 'held jobs are')} tried now."
    if Breaker.POLL in tried.breakers:
        yield "The next poll is tried now; if it succeeds, all go on."
