"""The two submit endpoints: validate a request, buy it and acknowledge it, or inject a fault."""

import json
import re
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from ops.sandbox.authentication import Authenticator
from ops.sandbox.catalogue import usd
from ops.sandbox.counters import Counters
from ops.sandbox.envelopes import Json, problem
from ops.sandbox.fault import DirectiveError, Fault, faults_in
from ops.sandbox.fault_replies import MESSAGES, OUT_OF_CREDITS, Dropped, corrupted, hang, refusal
from ops.sandbox.fault_schedule import FaultSchedule, Target
from ops.sandbox.generation import Generation
from ops.sandbox.state import SandboxState
from ops.sandbox.video_request import InvalidRequestError, ModelWithdrawnError, VideoRequest, read_request

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
    """Accepts video requests."""

    state: SandboxState
    authenticator: Authenticator
    fault_schedule: FaultSchedule
    counters: Counters

    async def accept(self, request: Request) -> Response:
        """Validate a video request, buy it and acknowledge it."""
        self.counters.submits += 1
        try:
            wanted, faults = await self.validated(request)
        except RefusedError as refused:
            return refused.reply
        return await self.buy(request, wanted, faults)

    async def validated(self, request: Request) -> tuple[VideoRequest, tuple[Fault, ...]]:
        """Read and validate the video request, and the faults in its prompt."""
        scope = request.scope
        if refused := self.authenticator.refuse(scope):
            raise RefusedError(refused)
        try:
            wanted = read_request(json.loads(await request.body()), google_only=scope["path"] == GOOGLE_PATH)
            faults = faults_in(wanted.prompt)
        except InvalidRequestError as invalid:
            raise RefusedError(problem(scope, 400, MESSAGES[400], data=invalid.complaints)) from None
        except DirectiveError as unreadable:
            complaint = {"code": "custom", "path": ["prompt"], "message": str(unreadable), "received": "[sandbox: …]"}
            raise RefusedError(problem(scope, 400, str(unreadable), data=[complaint])) from None
        except ModelWithdrawnError as withdrawn:
            raise RefusedError(problem(scope, 404, f"Model {withdrawn} is not available (any more)")) from None
        except ValueError:
            raise RefusedError(problem(scope, 400, "Request body is not valid JSON")) from None
        if wanted.shape.credits > self.state.balance_credits:
            raise RefusedError(problem(scope, 403, MESSAGES[403], data=OUT_OF_CREDITS))
        return wanted, faults

    async def buy(self, request: Request, wanted: VideoRequest, faults: tuple[Fault, ...]) -> Response:
        """Buy, unless a fault prevents it, and reply."""
        name = client_request_id(request)
        target = Target(wanted.shape.model, wanted.prompt, name)
        fault = self.fault_schedule.submit(faults, target)
        generation = None
        if fault is None or fault.buys:
            generation = self.state.accept(
                wanted,
                client_request_id=name,
                google_path=request.scope["path"] == GOOGLE_PATH,
                faults=faults,
                scheduled=self.fault_schedule.for_generation(target),
            )
        if fault is None:
            return receipt(generation)
        return await faulty_reply(request, generation, fault)


def client_request_id(request: Request) -> str | None:
    """Read the caller's correlation id; like the service, ignore a malformed one."""
    given = request.headers.get("x-client-request-id", "")
    return given if WELL_FORMED.fullmatch(given) else None


async def faulty_reply(request: Request, generation: Generation | None, fault: Fault) -> Response:
    """Build the reply of a submit with a fault, whether or not it bought."""
    if instead := refusal(request.scope, fault):
        return instead
    if fault.kind == "hang":
        await hang(fault)
    return corrupted(receipt(generation, fault), fault)


def receipt(generation: Generation | None, fault: Fault | None = None) -> Response:
    """Build the acknowledgement of a purchase; without one, drop the connection."""
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
    kind = fault.kind if fault else ""
    if kind == "no_id":
        del headers["x-inference-id"]
    return Json(receipt_body(generation, kind), 201, headers)


def receipt_body(generation: Generation, kind: str) -> dict[str, object]:
    """Build the body, in one of the variants that the service has used."""
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
