"""The two submit endpoints: where an order is judged, bought and acknowledged, or where that goes wrong."""

import json
import re
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from ops.sandbox.authentication import Authenticator
from ops.sandbox.catalogue import usd
from ops.sandbox.envelopes import Json, problem
from ops.sandbox.faults import MESSAGES, OUT_OF_CREDITS, Dropped, hang, refusal, spoilt
from ops.sandbox.generation import Generation
from ops.sandbox.orders import InvalidOrderError, ModelWithdrawnError, Order, read_order
from ops.sandbox.studio import Studio
from ops.sandbox.tally import Tally
from ops.sandbox.trouble import DirectiveError, Trouble, troubles_in
from ops.sandbox.troublemaker import Subject, Troublemaker

GOOGLE_PATH = "/v2/generate/video/google/generation"
ANY_PATH = "/v2/video/generations"

WELL_FORMED = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class RefusedError(Exception):
    """Nothing was bought; the caller sends this reply."""

    def __init__(self, reply: Response) -> None:
        super().__init__(reply.status_code)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Submits:
    """Takes orders."""

    studio: Studio
    authenticator: Authenticator
    troublemaker: Troublemaker
    tally: Tally

    async def take(self, request: Request) -> Response:
        """Judge an order, meet its trouble, buy it and acknowledge it."""
        self.tally.submits += 1
        try:
            order, troubles = await self.understood(request)
        except RefusedError as refused:
            return refused.reply
        return await self.serve(request, order, troubles)

    async def understood(self, request: Request) -> tuple[Order, tuple[Trouble, ...]]:
        """The order in a request, with the troubles that its prompt asks for."""
        scope = request.scope
        if refused := self.authenticator.refuse(scope):
            raise RefusedError(refused)
        try:
            order = read_order(json.loads(await request.body()), google_only=scope["path"] == GOOGLE_PATH)
            troubles = troubles_in(order.prompt)
        except InvalidOrderError as invalid:
            raise RefusedError(problem(scope, 400, MESSAGES[400], data=invalid.complaints)) from None
        except DirectiveError as unreadable:
            complaint = {"code": "custom", "path": ["prompt"], "message": str(unreadable), "received": "[sandbox: …]"}
            raise RefusedError(problem(scope, 400, str(unreadable), data=[complaint])) from None
        except ModelWithdrawnError as withdrawn:
            raise RefusedError(problem(scope, 404, f"Model {withdrawn} is not available (any more)")) from None
        except ValueError:
            raise RefusedError(problem(scope, 400, "Request body is not valid JSON")) from None
        if order.shape.credits > self.studio.balance_credits:
            raise RefusedError(problem(scope, 403, MESSAGES[403], data=OUT_OF_CREDITS))
        return order, troubles

    async def serve(self, request: Request, order: Order, troubles: tuple[Trouble, ...]) -> Response:
        """Buy, unless a trouble comes first."""
        name = client_request_id(request)
        subject = Subject(order.shape.model, order.prompt, name)
        trouble = self.troublemaker.submit(troubles, subject)
        generation = None
        if trouble is None or trouble.buys:
            generation = self.studio.accept(
                order,
                client_request_id=name,
                google_path=request.scope["path"] == GOOGLE_PATH,
                troubles=troubles,
                inflicted=self.troublemaker.inflicted(subject),
            )
        if trouble is None:
            return receipt(generation)
        return await troubled_reply(request, generation, trouble)


def client_request_id(request: Request) -> str | None:
    """The caller's correlation id; a malformed one is dropped without a word."""
    given = request.headers.get("x-client-request-id", "")
    return given if WELL_FORMED.fullmatch(given) else None


async def troubled_reply(request: Request, generation: Generation | None, trouble: Trouble) -> Response:
    """What is said of a submit that met a trouble, whether or not it bought."""
    if instead := refusal(request.scope, trouble):
        return instead
    if trouble.kind == "hang":
        await hang(trouble)
    return spoilt(receipt(generation, trouble), trouble)


def receipt(generation: Generation | None, trouble: Trouble | None = None) -> Response:
    """The acknowledgement of a purchase; of none there is nothing to say."""
    if generation is None:
        return Dropped()
    cost = generation.shape.credits
    headers = {
        "x-inference-id": generation.id,
        "x-aimlapi-credits-used": str(cost),
        "x-aimlapi-usd-spent": str(usd(cost)),
    }
    if generation.client_request_id:
        headers["x-client-request-id"] = generation.client_request_id
    kind = trouble.kind if trouble else ""
    if kind == "no_id":
        del headers["x-inference-id"]
    return Json(receipt_body(generation, kind), 201, headers)


def receipt_body(generation: Generation, kind: str) -> dict[str, object]:
    """The body, in one of the variations that were seen."""
    cost = generation.shape.credits
    usage: dict[str, object] = {"credits_used": cost, "usd_spent": usd(cost)}
    if kind == "tokens_used":
        usage = {"tokens_used": cost}
    elif kind == "no_usd":
        del usage["usd_spent"]
    body: dict[str, object] = {"id": generation.id, "status": "queued", "meta": {"usage": usage}}
    if kind == "no_id":
        del body["id"]
    elif kind == "generation_id":
        body = {"generation_id": body.pop("id"), **body}
    elif kind == "no_meta":
        del body["meta"]
    return body
