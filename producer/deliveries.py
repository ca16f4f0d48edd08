"""The JSON of webhook endpoints and deliveries, the same over HTTP and on the command line."""

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from config.webhook_endpoints import Endpoint
from jobs.delivery import DeliveryLine


class EndpointView(TypedDict):
    """A webhook endpoint, without its secret."""

    id: Annotated[str, Field(description="The endpoint's id.", examples=["wh_01kb0000000000000000000000"])]
    object: Annotated[Literal["webhook"], Field(description="Always `webhook`.", examples=["webhook"])]
    url: Annotated[str, Field(description="Where the requests go.", examples=["https://shop.example/rushes"])]
    events: Annotated[list[str], Field(description="Its events; empty: every end.", examples=[["job.completed"]])]
    tenant: Annotated[str | None, Field(description="Only this tenant's jobs; null: all jobs.", examples=["shop"])]
    description: Annotated[str, Field(description="A note for people.", examples=["the web shop"])]
    created_at: Annotated[float, Field(description="When it was added, in epoch seconds.", examples=[1795000000.5])]
    generation: Annotated[int, Field(description="The number of its current secret.", examples=[1])]
    previous_until: Annotated[
        float | None, Field(description="When the previous secret expires, in epoch seconds.", examples=[1795086400.5])
    ]
    disabled_at: Annotated[
        float | None, Field(description="When it was disabled, in epoch seconds.", examples=[1795000000.5])
    ]
    disabled_why: Annotated[
        str | None,
        Field(description="Why it was disabled.", examples=["it wants no further deliveries: answered 410"]),
    ]
    waiting: Annotated[int, Field(description="Deliveries in its outbox.", examples=[0])]


class DeliveryView(TypedDict):
    """One attempt to deliver one event to one receiver."""

    id: Annotated[str, Field(description="The attempt's id; ids of one receiver ascend.", examples=["1795000000123-0"])]
    object: Annotated[Literal["delivery"], Field(description="Always `delivery`.", examples=["delivery"])]
    receiver: Annotated[
        str,
        Field(
            description="An endpoint's id, or `url_…` for the server of a request's `webhook_url`.",
            examples=["wh_01kb0000000000000000000000"],
        ),
    ]
    job_id: Annotated[str, Field(description="The job.", examples=["job_01kb0000000000000000000000"])]
    event: Annotated[str, Field(description="The job's event.", examples=["job.completed"])]
    delivered: Annotated[bool, Field(description="Whether the attempt succeeded.", examples=[True])]
    tries: Annotated[int, Field(description="The number of this attempt.", examples=[1])]
    at: Annotated[float, Field(description="When the attempt ended, in epoch seconds.", examples=[1795000000.5])]
    took_s: Annotated[float, Field(description="Its duration in seconds.", examples=[0.123])]
    message: Annotated[str, Field(description="The outcome in words.", examples=["answered 200"])]
    status: Annotated[int | None, Field(description="The reply's HTTP status.", examples=[200])]
    sent: Annotated[
        str | None,
        Field(
            description="The beginning of the request, its URL without the query; null once the job is erased.",
            examples=['POST https://shop.example/rushes webhook-id: job_01….completed {"type":"job.completed"'],
        ),
    ]
    answer: Annotated[
        str | None,
        Field(description="The beginning of the reply; null once the job is erased.", examples=["ok"]),
    ]


def endpoint_view(endpoint: Endpoint, *, waiting: int) -> EndpointView:
    """Return an endpoint as plain JSON."""
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
    """Return a line of a receiver's delivery log as plain JSON."""
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
