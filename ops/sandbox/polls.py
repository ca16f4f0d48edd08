"""The two poll endpoints: how far a generation is, in all the forms in which that is told."""

from dataclasses import dataclass
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ops.sandbox.authentication import Authenticator
from ops.sandbox.clips import Clips
from ops.sandbox.envelopes import Json, problem
from ops.sandbox.faults import MESSAGES, hang, refusal, spoilt
from ops.sandbox.generation import Generation, Phase
from ops.sandbox.links import Links
from ops.sandbox.studio import Studio, now_ms
from ops.sandbox.submits import GOOGLE_PATH
from ops.sandbox.tally import Tally
from ops.sandbox.trouble import Trouble
from ops.sandbox.troublemaker import Subject, Troublemaker

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
    """Answers polls. A bare ASGI application, because nothing else is called as often."""

    studio: Studio
    authenticator: Authenticator
    troublemaker: Troublemaker
    clips: Clips
    links: Links
    tally: Tally

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one poll."""
        self.tally.polls += 1
        reply = self.authenticator.refuse(scope) or await self.answer(scope)
        await reply(scope, receive, send)

    async def answer(self, scope: Scope) -> Response:
        """Find the generation that is asked for, and say how far it is."""
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("generation_id", [""])[0]
        if not asked:
            return Json({"id": "", "status": "unknown", "error": ERRORS["unknown"]})
        generation = self.studio.by_id.get(asked)
        if generation is None or not self.belongs(generation, scope["path"]):
            return problem(scope, 404, MESSAGES[404])
        phase = generation.phase(now_ms())
        trouble = self.trouble_of(generation, phase)
        if trouble is None:
            return Json(self.progress(scope, generation, phase))
        if instead := refusal(scope, trouble):
            return instead
        if trouble.kind == "hang":
            await hang(trouble)
        return spoilt(Json(disguised(self.progress(scope, generation, phase), phase, trouble)), trouble)

    def belongs(self, generation: Generation, path: str) -> bool:
        """Whether an id may be polled on this path."""
        return not self.studio.settings.strict_paths or generation.google_path == (path == GOOGLE_PATH)

    def trouble_of(self, generation: Generation, phase: Phase) -> Trouble | None:
        """The trouble that this poll meets."""
        if not generation.troubles and not self.troublemaker.standing:
            return None
        return self.troublemaker.poll(
            generation.troubles, lambda: subject_of(generation), owner=generation.id, finished=phase.finished
        )

    def progress(self, scope: Scope, generation: Generation, phase: Phase) -> dict[str, object]:
        """How far it is, untroubled."""
        if phase is Phase.COMPLETED:
            return {"id": generation.id, "status": "completed", "video": self.video(scope, generation)}
        if phase is Phase.ERROR:
            return failure(generation)
        self.clips.prepare(generation)
        return {"id": generation.id, "status": phase.value}

    def video(self, scope: Scope, generation: Generation) -> dict[str, object]:
        """Where the video is; its size is told only when it is known already, as the service does it."""
        video: dict[str, object] = {
            "url": self.links.url(generation, base_url(scope)),
            "content_type": "video/mp4",
            "file_name": "output.mp4",
        }
        size = self.clips.size_bytes(generation)
        return video if size is None else {**video, "file_size": size}


def subject_of(generation: Generation) -> Subject:
    """A generation, as standing troubles see it."""
    return Subject(generation.shape.model, generation.prompt, generation.client_request_id)


def base_url(scope: Scope) -> str:
    """The address under which the caller reached us: the video is to be found there too."""
    return f"{scope['scheme']}://{Headers(scope=scope).get('host', '127.0.0.1')}"


def failure(generation: Generation) -> dict[str, object]:
    """A failed generation, in the shape that its fate says."""
    error = ERRORS[generation.fate or "object"]
    if generation.fate == "unknown":
        return {"id": "", "status": "unknown", "error": error}
    return {"id": generation.id, "status": "error", "error": error}


def disguised(body: dict[str, object], phase: Phase, trouble: Trouble) -> dict[str, object]:
    """The same news in another form that the service has been seen to use."""
    if trouble.kind == "word" and not phase.finished:
        return {**body, "status": trouble.word}
    if trouble.kind == "old_words" and not phase.finished:
        return {**body, "status": OLD_WORDS[phase]}
    return rearranged(body, trouble.kind) if phase is Phase.COMPLETED else body


def rearranged(body: dict[str, object], kind: str) -> dict[str, object]:
    """A completed generation, told otherwise."""
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
    """The video with its URL and nothing else."""
    video = body["video"]
    return {"url": video["url"]} if isinstance(video, dict) else {}
