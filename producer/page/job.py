"""`/jobs/<id>`: one job's video, its timeline, what was asked and what came, its money, its deliveries, its actions."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from starlette.responses import Response

from jobs.artifacts import Artifact
from jobs.delivery import DeliveryLine
from jobs.events import LogEntry
from jobs.job import Job, VideoRequest
from jobs.moves.request import Retry, on_retry
from jobs.shorten import shorten
from jobs.states import State
from producer.api.content import Reader, content
from producer.api.problems import Code, Problem
from producer.api.videos import ARTIFACT_OF, check_id, erase
from producer.costs import cancel_costs, erase_costs, retry_costs
from producer.keys import Scope
from producer.page.lists import row_of
from producer.page.snippets import snippets
from producer.page.timeline import drawn, lanes_of
from producer.page.visit import Visit, is_still_admitted
from producer.receivers import check_has_ended
from producer.views import entry_view

MOST_EVENTS: Final = 300
"""The newest events are listed; the API has them all."""


def show(visit: Visit) -> Response:
    """Show a job."""
    service, receivers = visit.parts.service, visit.parts.receivers
    cursor = service.newest_event()  # first: what happens from here on is told
    job, request = _known(visit)
    now = service.now()
    row = row_of(visit, job, request, now=now)
    entries = service.events(job.id)
    deliveries = receivers.own_log(job, request, tenant=visit.tenant)
    return visit.page(
        "job.html",
        row=row,
        job=job,
        request=request,
        parameters=shorten(request.parameters),
        now=now,
        cursor=cursor,
        timeline=_timeline(job, entries, deliveries, now=now, eta=service.eta(job)),
        entries=[entry_view(entry) for entry in entries[-MOST_EVENTS:]],
        deliveries=deliveries,
        receivers=receivers.own_receivers(job, request, tenant=visit.tenant) if job.is_final else {},
        actions=_actions(visit, job),
        snippets=snippets(request, _base_url(visit), needs_key=visit.key is not None),
    )


def file(visit: Visit) -> Response:
    """Serve a job's video or an artifact of it, as the API's content route does."""
    artifact = ARTIFACT_OF.get(visit.request.path_params.get("file", "video"))
    if artifact is None:
        raise Problem(Code.NO_SUCH_ROUTE, "A job has the files video, poster, preview, gif and manifest.")
    job, _ = _known(visit)
    reader = Reader(visit.parts.downloads.place(visit.tenant), partial(is_still_admitted, visit))
    head_only = visit.request.method == "HEAD"
    reply = content(job, visit.parts.store, visit.request.headers, artifact, reader=reader, head_only=head_only)
    if artifact is not Artifact.VIDEO or "download" not in visit.request.query_params:
        reply.headers["content-disposition"] = "inline"
    return reply


def cancel(visit: Visit) -> Response:
    """Cancel the job; one that was bought since the page was shown is not, because that saves nothing."""
    job, _ = _known(visit)
    if visit.text("state") == State.QUEUED and job.state is not State.QUEUED and not job.is_final:
        raise Problem(
            Code.NOT_READY, f"It was bought meanwhile, and nothing was cancelled. {_cancel_costs(visit, job)}"
        )
    visit.parts.service.cancel(job.id)
    return visit.go(f"jobs/{job.id}")


def retry(visit: Visit) -> Response:
    """Retry the job as a new one; it buys only if the form said what that costs."""
    job, _ = _known(visit)
    answer = visit.parts.service.retry(job.id, pay_again=visit.text("pay_again") == "yes")
    if answer.job_id is None:
        raise Problem(Code.WOULD_PAY, "The job has changed meanwhile, and nothing was bought: look at it again.")
    return visit.go(f"jobs/{answer.job_id}")


def remove(visit: Visit) -> Response:
    """Erase the job, once it has ended."""
    job, _ = _known(visit)
    erase(visit.parts, visit.caller, job.id)
    return visit.go("")


def redeliver(visit: Visit) -> Response:
    """Deliver the job's ends to one of the visitor's receivers again."""
    job, request = _known(visit)
    check_has_ended(job)
    receiver = visit.text("receiver")
    wanted = visit.parts.receivers.own_receivers(job, request, tenant=visit.tenant)
    if receiver not in wanted:
        raise Problem(Code.NOT_FOUND, "You have no such receiver for this job.")
    visit.parts.receivers.redeliver_events(job.id, {receiver: wanted[receiver]})
    return visit.go(f"jobs/{job.id}")


def decide(visit: Visit) -> Response:
    """Resolve a purchase in doubt as a person decided."""
    job, _ = _known(visit)
    generation_id = visit.text("generation_id").strip()
    match visit.text("decision"):
        case "adopt" if generation_id:
            visit.parts.service.adopt(job.id, generation_id)
        case "resubmit":
            visit.parts.service.resolve(job.id, resubmit=True)
        case "give_up":
            visit.parts.service.resolve(job.id, resubmit=False)
        case _:
            raise Problem(Code.INVALID_REQUEST, "Name the generation's id, from the upstream's own log.")
    return visit.go(f"jobs/{job.id}")


def _known(visit: Visit) -> tuple[Job, VideoRequest]:
    job_id = visit.request.path_params["job_id"]
    check_id(job_id)
    return visit.parts.service.get(job_id, tenant=visit.tenant)


def _actions(visit: Visit, job: Job) -> Mapping[str, str]:
    """Return the actions that fit the job's state and the visitor's key, each with what it costs."""
    if not visit.may(Scope.SUBMIT):
        return {}
    if not job.is_final:
        return {"cancel": _it(job, _cancel_costs(visit, job))} if job.cancel_requested_at is None else {}
    return {**_retries(job), "erase": _it(job, erase_costs(job))}


def _retries(job: Job) -> Mapping[str, str]:
    if job.retried_as is not None:
        return {}
    match on_retry(job, pay_again=False):
        case Retry.GO_ON:
            return {"retry": _it(job, retry_costs(job))}
        case Retry.WOULD_PAY:
            return {"pay_again": _it(job, retry_costs(job))}
    return {}


def _it(job: Job, sentence: str) -> str:
    """Begin a sentence about the job that the page is about with "It"."""
    return sentence.replace(job.id, "It", 1)


def _cancel_costs(visit: Visit, job: Job) -> str:
    return cancel_costs(job, keeps=visit.parts.settings.late_fetch.keep_cancelled)


def _timeline(
    job: Job, entries: Sequence[LogEntry], deliveries: Sequence[tuple[str, DeliveryLine]], *, now: float, eta: Any
) -> Any:
    lanes = lanes_of(job, entries, deliveries, now=now)
    return drawn(job, lanes, now=now, eta=eta) if lanes else ""


def _base_url(visit: Visit) -> str:
    return str(visit.parts.settings.api.public_url or visit.request.base_url).rstrip("/")
