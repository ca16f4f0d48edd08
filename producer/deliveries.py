"""Webhook endpoints and deliveries as the outside sees them: one JSON shape for every face."""

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from jobs.delivery import DeliveryLine
from jobs.webhooks import Endpoint


class EndpointView(TypedDict):
    """A webhook endpoint, without its secret."""

    id: Annotated[str, Field(description="The endpoint's id.", examples=["wh_01kb0000000000000000000000"])]
    object: Annotated[Literal["webhook"], Field(description="Always `webhook`.", examples=["webhook"])]
    url: Annotated[str, Field(description="Where the requests go.", examples=["https://shop.example/rushes"])]
    events: Annotated[list[str], Field(description="What it is told; empty: every end.", examples=[["job.completed"]])]
    tenant: Annotated[str | None, Field(description="Whose jobs it hears of; null: everybody's.", examples=["shop"])]
    description: Annotated[str, Field(description="A note for people.", examples=["the web shop"])]
    created_at: Annotated[float, Field(description="When it was added, in epoch seconds.", examples=[1795000000.5])]
    generation: Annotated[int, Field(description="Counts its secrets.", examples=[1])]
    previous_until: Annotated[
        float | None, Field(description="Until when the secret before is valid too.", examples=[1795086400.5])
    ]
    disabled_at: Annotated[float | None, Field(description="Since when it is told nothing.", examples=[1795000000.5])]
    disabled_why: Annotated[
        str | None,
        Field(description="Why not.", examples=["it wants no further deliveries: answered 410"]),
    ]
    waiting: Annotated[int, Field(description="How many deliveries it still has to expect.", examples=[0])]


class DeliveryView(TypedDict):
    """One try to tell one receiver of one event."""

    id: Annotated[str, Field(description="Orders the tries of one receiver.", examples=["1795000000123-0"])]
    object: Annotated[Literal["delivery"], Field(description="Always `delivery`.", examples=["delivery"])]
    receiver: Annotated[
        str,
        Field(
            description="Who was told: an endpoint's id, or `url_…` for addresses that orders bring along.",
            examples=["wh_01kb0000000000000000000000"],
        ),
    ]
    job_id: Annotated[str, Field(description="The job.", examples=["job_01kb0000000000000000000000"])]
    event: Annotated[str, Field(description="What it was told of the job.", examples=["job.completed"])]
    delivered: Annotated[bool, Field(description="Whether the receiver has it.", examples=[True])]
    tries: Annotated[int, Field(description="Which try it was.", examples=[1])]
    at: Annotated[float, Field(description="When it was over, in epoch seconds.", examples=[1795000000.5])]
    took_s: Annotated[float, Field(description="How long it took.", examples=[0.123])]
    message: Annotated[str, Field(description="How it went, in words.", examples=["answered 200"])]
    status: Annotated[int | None, Field(description="The HTTP status that came back.", examples=[200])]
    sent: Annotated[
        str | None,
        Field(
            description="The beginning of the request, its URL without the query; null once the job is erased.",
            examples=['POST https://shop.example/rushes webhook-id: job_01….completed {"type":"job.completed"'],
        ),
    ]
    answer: Annotated[
        str | None,
        Field(description="The beginning of the answer; null once the job is erased.", examples=["ok"]),
    ]


def endpoint_view(endpoint: Endpoint, *, waiting: int) -> EndpointView:
    """An endpoint as plain JSON."""
    return {
        "id": endpoint.id,
        "object": "webhook",
        "url": endpoint.url,
        "events": list(endpoint.events),
        "tenant": endpoint.tenant,
        "description": endpoint.description,
        "created_at": endpoint.created_at,
        "generation": endpoint.generation,
        "previous_until": endpoint.previous_until,
        "disabled_at": endpoint.disabled_at,
        "disabled_why": endpoint.disabled_why,
        "waiting": waiting,
    }


def delivery_view(receiver: str, line: DeliveryLine) -> DeliveryView:
    """A line of a receiver's log as plain JSON."""
    return {
        "id": line.id,
        "object": "delivery",
        "receiver": receiver,
        "job_id": line.job_id,
        "event": line.event,
        "delivered": line.delivered,
        "tries": line.tries,
        "at": line.at,
        "took_s": line.took_s,
        "message": line.message,
        "status": line.status,
        "sent": line.sent,
        "answer": line.answer,
    }
