"""The two poll endpoints: a generation's progress, in every format that the real service has used."""

from dataclasses import dataclass
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ops.sandbox.authentication import Authenticator
from ops.sandbox.clip_cache import ClipCache
from ops.sandbox.counters import Counters
from ops.sandbox.envelopes import Json, problem
from ops.sandbox.fault import Fault
from ops.sandbox.fault_replies import MESSAGES, corrupted, hang, refusal
from ops.sandbox.fault_schedule import FaultSchedule, Target
from ops.sandbox.generation import Generation, Phase
from ops.sandbox.links import Links
from ops.sandbox.state import SandboxState, now_ms
from ops.sandbox.submits import GOOGLE_PATH

OLD_WORDS = {Phase.QUEUED: "waiting", Phase.GENERATING: "active"}

ERRORS: dict[str, object] = {
    "object": {"name": "Error", "message": "The video could not be generated"},
    "face": {
        "detail": [
            {
                "loc": ["body", "image_url"],
                "msg": "Could not detect face in the image",
                "type": "face_detection_error",
            }
        ]
    },
    "string": "The video could not be generated",
    "null": None,
    "unknown": {"name": "Error", "message": "invalid params, task_id cannot by empty"},
}
FILTERED = {"name": "Error", "message": "The video was blocked by the safety filter"}
CANCELLED = {"name": "Error", "message": "The generation was cancelled by its vendor"}
DUMMY_ERROR = {"name": "string", "message": "string"}


@dataclass(frozen=True, slots=True)
class Polls:
    """Answers polls; plain ASGI, because polls are the most frequent request."""

    state: SandboxState
    authenticator: Authenticator
    fault_schedule: FaultSchedule
    clips: ClipCache
    links: Links
    counters: Counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one poll."""
        self.counters.polls += 1
        reply = self.authenticator.refuse(scope) or await self.answer(scope)
        await reply(scope, receive, send)

    async def answer(self, scope: Scope) -> Response:
        """Find the generation and report its progress."""
        generation_id = parse_qs(scope["query_string"].decode("latin-1")).get("generation_id", [""])[0]
        if not generation_id:
            return Json({"id": "", "status": "unknown", "error": ERRORS["unknown"]})
        generation = self.state.by_id.get(generation_id)
        if generation is None or not self.belongs(generation, scope["path"]):
            return problem(scope, 404, MESSAGES[404])
        phase = generation.phase(now_ms())
        fault = self.fault_of(generation, phase)
        if fault is None:
            return Json(self.progress(scope, generation, phase))
        if instead := refusal(scope, fault):
            return instead
        if fault.kind == "hang":
            await hang(fault)
        return corrupted(Json(in_variant_form(self.progress(scope, generation, phase), phase, fault)), fault)

    def belongs(self, generation: Generation, path: str) -> bool:
        """Whether an id may be polled on this path."""
        return not self.state.settings.strict_paths or generation.google_path == (path == GOOGLE_PATH)

    def fault_of(self, generation: Generation, phase: Phase) -> Fault | None:
        """Pick the fault of this poll."""
        if not generation.faults and not self.fault_schedule.scheduled:
            return None
        return self.fault_schedule.poll(
            generation.faults, lambda: target_of(generation), owner=generation.id, finished=phase.finished
        )

    def progress(self, scope: Scope, generation: Generation, phase: Phase) -> dict[str, object]:
        """Build the reply without a fault."""
        if phase is Phase.COMPLETED:
            return {"id": generation.id, "status": "completed", "video": self.video(scope, generation)}
        if phase is Phase.ERROR:
            return failure(generation)
        self.clips.prepare(generation)
        return {"id": generation.id, "status": phase.value}

    def video(self, scope: Scope, generation: Generation) -> dict[str, object]:
        """Build the video's fields; like the service, leave out the size until it is known."""
        video: dict[str, object] = {
            "url": self.links.url(generation, base_url(scope)),
            "content_type": "video/mp4",
            "file_name": "output.mp4",
        }
        size = self.clips.size_bytes(generation)
        return video if size is None else {**video, "file_size": size}


def target_of(generation: Generation) -> Target:
    """Return the fields of a generation that scheduled faults match."""
    return Target(generation.shape.model, generation.prompt, generation.client_request_id)


def base_url(scope: Scope) -> str:
    """Return the address that the client used; its video URLs begin with it."""
    return f"{scope['scheme']}://{Headers(scope=scope).get('host', '127.0.0.1')}"


def failure(generation: Generation) -> dict[str, object]:
    """Build the reply of a failed generation, in the format of its outcome."""
    error = ERRORS[generation.outcome or "object"]
    if generation.outcome == "unknown":
        return {"id": "", "status": "unknown", "error": error}
    return {"id": generation.id, "status": "error", "error": error}


def in_variant_form(body: dict[str, object], phase: Phase, fault: Fault) -> dict[str, object]:
    """Change the reply to another format that the service has used."""
    if fault.kind == "word" and not phase.finished:
        return {**body, "status": fault.word}
    if fault.kind == "old_words" and not phase.finished:
        return {**body, "status": OLD_WORDS[phase]}
    return rearranged(body, fault.kind) if phase is Phase.COMPLETED else body


def rearranged(body: dict[str, object], kind: str) -> dict[str, object]:
    """Change a completed generation's reply, as the fault's kind says."""
    if kind == "no_video":
        return {key: value for key, value in body.items() if key != "video"}
    if kind == "cancelled":
        return {"id": body["id"], "status": "cancelled", "error": CANCELLED}
    url = url_only(body)
    changes: dict[str, dict[str, object]] = {
        "array": {"video": [url]},
        "no_size": {"video": url},
        "url_list": {"video": [url.get("url")]},
        "url_text": {"video": url.get("url")},
        "dummy_error": {"error": DUMMY_ERROR},
        "succeeded": {"status": "succeeded"},
        "odd_success": {"status": "published"},
        "filtered": {"video": None, "error": FILTERED},
    }
    return body | changes.get(kind, {})


def url_only(body: dict[str, object]) -> dict[str, object]:
    """Reduce the video to its URL."""
    video = body["video"]
    return {"url": video["url"]} if isinstance(video, dict) else {}
