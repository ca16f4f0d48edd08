"""Webhook endpoints on `/operate`: add, test, rotate, disable, enable, remove. A secret is shown when it is made."""

from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from config.settings import ConfigurationError
from config.webhook_endpoints import Endpoint
from jobs.delivery import DeliveryLine
from jobs.errors import InvalidRequest
from producer.api.problems import Code, Problem
from producer.api.videos import check_id
from producer.api.webhooks import tested
from producer.limits import SCOPE
from producer.page.operate import DAY_S, Refused, page
from producer.page.visit import Visit

FORM: Final = "endpoint"


def add(visit: Visit) -> Response:
    """Add an endpoint, and show its secret."""
    events = [value for name, value in visit.form if name == "event" and isinstance(value, str)]
    url, description = visit.text("url").strip(), visit.text("description").strip()
    tenant = visit.text("tenant").strip() or None
    if not SCOPE.fullmatch(f"tenant:{tenant or ''}"):
        detail = "a tenant's name is up to 63 of a-z, 0-9, - and _"
        return page(visit, problem=Refused(visit, FORM, f"No endpoint was added: {detail}."))
    try:
        added = visit.parts.webhooks.add(url, events=events, tenant=tenant, description=description)
    except (InvalidRequest, ConfigurationError) as error:
        return page(visit, problem=Refused(visit, FORM, f"No endpoint was added: {_words(error)}"))
    return _with_secret(visit, added)


async def change(visit: Visit) -> Response:
    """Do to an endpoint what the button says."""
    if visit.text("do") == "test":
        return await _test(visit)
    return await run_in_threadpool(_changed, visit)


def redeliver(visit: Visit) -> Response:
    """Deliver a job's ends to an endpoint now, also those delivered before."""
    endpoint, job_id = visit.parts.webhooks.get(visit.text("endpoint")), visit.text("job")
    check_id(job_id)
    job, request = visit.parts.service.get(job_id)  # refuses an erased job, of which nothing is left to deliver
    if endpoint.id not in visit.parts.receivers.own_receivers(job, request, tenant=None):
        raise Problem(Code.NOT_FOUND, "This endpoint receives nothing of that job's tenant.")
    visit.parts.receivers.redeliver(endpoint.id, job_id)
    told = f"{job_id} is delivered to {endpoint.id} now: look again in a moment."
    return page(visit, told=told)


async def _test(visit: Visit) -> Response:
    endpoint_id = visit.text("endpoint")
    _, line = await tested(visit.parts, endpoint_id)
    return await run_in_threadpool(page, visit, told=_outcome(endpoint_id, line), is_good=bool(line and line.delivered))


def _outcome(endpoint_id: str, line: DeliveryLine | None) -> str:
    if line is None:
        return f"No worker has made the test delivery to {endpoint_id} yet: is one running?"
    how = "took" if line.delivered else "did not take"
    return f"{endpoint_id} {how} the test delivery: {line.message}, after {line.took_s:.1f} s."


def _changed(visit: Visit) -> Response:
    webhooks, endpoint_id = visit.parts.webhooks, visit.text("endpoint")
    try:
        match visit.text("do"):
            case "rotate":
                return _with_secret(visit, webhooks.rotate(endpoint_id, keep_old_s=DAY_S))
            case "disable":
                webhooks.disable(endpoint_id)
            case "enable":
                return _enabled(visit, endpoint_id)
            case "remove":
                webhooks.remove(endpoint_id)
            case _:
                raise Problem(Code.INVALID_REQUEST, "An endpoint is tested, rotated, disabled, enabled or removed.")
    except (InvalidRequest, ConfigurationError) as error:
        return page(visit, problem=Refused(visit, FORM, f"Nothing was changed: {_words(error)}"))
    return visit.go("operate")


def _enabled(visit: Visit, endpoint_id: str) -> Response:
    missed_since = visit.parts.webhooks.get(endpoint_id).missed_since
    visit.parts.webhooks.enable(endpoint_id)
    if missed_since is None:
        return visit.go("operate")
    told = f"{endpoint_id} is enabled. Jobs that ended meanwhile: `GET /v1/events?after={missed_since}`."
    return page(visit, told=told)


def _with_secret(visit: Visit, endpoint: Endpoint) -> Response:
    return page(visit, secret=(endpoint, visit.parts.webhooks.secrets(endpoint.id).current))


def _words(error: InvalidRequest | ConfigurationError) -> str:
    if isinstance(error, ConfigurationError):
        return f"{error}"
    return "; ".join(f"{each.field} {each.message}" for each in error.errors)
