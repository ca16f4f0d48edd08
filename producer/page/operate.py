"""`/operate`: what an administrator does: pause and resume buying, try now, limits, keys, webhook endpoints."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.responses import Response

from config.webhook_endpoints import LONGEST_URL, Endpoint
from jobs.delivery import DeliveryLine
from jobs.events import ENDS, SUBSCRIBABLE
from jobs.pauses import LONGEST_TEXT
from producer.api.keys import CreateKey
from producer.api.problems import Code, Problem
from producer.deliveries import endpoint_view
from producer.keys import Issued, Scope
from producer.limits import SCOPE, limits_view, parsed_limit
from producer.page.visit import Visit
from producer.trials import tried_in_words
from producer.waiting import broken, paused

DAY_S: Final = 86_400
ATTEMPTS: Final = 30
_WHAT: Final = "Choose everything without a name, or a tenant or a model by its name."
_KEY_ID: Final = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Refused:
    """What is wrong with a form of the page, which shows again what was typed."""

    visit: Visit
    form: str
    detail: str

    @property
    def typed(self) -> dict[str, str]:
        """The fields by name."""
        return {name: value for name, value in self.visit.form if isinstance(value, str)}

    def ticked(self, wanted: str) -> list[str]:
        """Return what was ticked of the boxes of this name."""
        return [value for name, value in self.visit.form if name == wanted and isinstance(value, str)]


def show(visit: Visit) -> Response:
    """Show the pause, the keys, the endpoints, and one's deliveries if the address names it."""
    return page(visit)


def pause(visit: Visit) -> Response:
    """Pause buying."""
    kind, name = visit.text("kind"), visit.text("name").strip()
    if bool(name) > bool(kind) or (kind == "model" and not name):
        return page(visit, problem=Refused(visit, "pause", f"Nothing was paused. {_WHAT}"))
    by = visit.tenant or "the operator"
    visit.parts.service.pause(by=by, reason=visit.text("reason").strip(), what=_what(visit))
    return visit.go("operate")


def resume(visit: Visit) -> Response:
    """Resume buying."""
    visit.parts.service.resume(what=_what(visit))
    return visit.go("operate")


def try_now(visit: Visit) -> Response:
    """Try at once what the upstream refused, and say what is tried."""
    return page(visit, tried=tried_in_words(visit.parts.service.try_now()))


def _what(visit: Visit) -> str | None:
    """Read what is to be paused: everything, a tenant or a model."""
    kind, name = visit.text("kind"), visit.text("name").strip()
    if kind not in {"", "tenant", "model"} or len(name) > LONGEST_TEXT:
        raise Problem(Code.INVALID_REQUEST, _WHAT)
    return f"{kind}:{name}" if kind else None


def limit(visit: Visit) -> Response:
    """Set limits; what a field left empty would say stays."""
    scope = visit.text("scope").strip()
    given = {name: visit.text(name).strip() or None for name in ("in_flight", "per_min", "weight")}
    try:
        wanted = parsed_limit(scope, **given)
    except ValueError as error:
        return page(visit, problem=Refused(visit, "limit", f"Nothing was set: {error}."))
    visit.parts.service.set_limit(scope, wanted)
    return visit.go("operate")


def unset(visit: Visit) -> Response:
    """Forget what was set: the settings hold again."""
    scope = visit.text("scope")
    if not SCOPE.fullmatch(scope):
        raise Problem(Code.NOT_FOUND, "There is no such limit.")
    visit.parts.service.unset_limit(scope)
    return visit.go("operate")


def issue(visit: Visit) -> Response:
    """Issue a key, and show its token this once."""
    days = visit.text("days").strip()
    try:
        wanted = CreateKey(
            tenant=visit.text("tenant").strip(),
            scopes=[Scope(str(value)) for name, value in visit.form if name == "scope"],
            name=visit.text("name").strip(),
            expires_in_s=float(days) * DAY_S if days else None,
        )
    except ValueError:
        detail = "A tenant's name is up to 63 of a-z, 0-9, - and _; choose at least one scope; days is a number."
        return page(visit, problem=Refused(visit, "issue", f"No key was issued. {detail}"))
    life_s = wanted.expires_in_s
    issued = visit.parts.access.issue(wanted.tenant, wanted.scopes, name=wanted.name, life_s=life_s)
    return page(visit, issued=issued)


def revoke(visit: Visit) -> Response:
    """Revoke a key at once, and with it all its sessions."""
    key_id = visit.text("key")
    if not _KEY_ID.fullmatch(key_id):
        raise Problem(Code.NOT_FOUND, "There is no such key.")
    visit.parts.access.revoke(key_id)
    return visit.go("operate")


@dataclass(frozen=True)
class Delivered:
    """An endpoint's recent attempts, newest first, each with whether it is the last one of a job's end and failed."""

    endpoint: Endpoint
    attempts: Sequence[tuple[DeliveryLine, bool]]

    @classmethod
    def asked_for(cls, visit: Visit) -> "Delivered | None":
        """Read those of the endpoint that the address names, if it names one."""
        endpoint_id = visit.request.query_params.get("deliveries")
        if endpoint_id is None:
            return None
        endpoint = visit.parts.webhooks.get(endpoint_id)
        found, ends = list[tuple[DeliveryLine, bool]](), set[tuple[str, str]]()
        for line in visit.parts.receivers.log(endpoint.id, limit=ATTEMPTS):
            end = (line.job_id, line.event)
            found.append((line, not line.delivered and line.event in ENDS and end not in ends))
            ends.add(end)
        return cls(endpoint, found)


def page(
    visit: Visit,
    *,
    issued: Issued | None = None,
    problem: Refused | None = None,
    secret: tuple[Endpoint, str] | None = None,
    told: str = "",
    is_good: bool = True,
    tried: str = "",
) -> Response:
    """Show the page with what came of a form: a new key, what is wrong, an endpoint's new secret, or a sentence."""
    parts = visit.parts
    holds, waiting = parts.service.holds(), parts.receivers.waiting()
    return visit.page(
        "operate.html",
        HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK,
        problem=problem,
        most_in_flight=holds.most_in_flight,
        pauses=[(pause, paused(pause)) for pause in holds.pauses.values()],
        tried=tried,
        broken=[broken(breaker, circuit) for breaker, circuit in parts.service.open_breakers().items()],
        limits=limits_view(holds),
        keys=parts.access.listed(),
        now=parts.service.now(),
        scopes=list(Scope),
        endpoints=[endpoint_view(endpoint, waiting=waiting.get(endpoint.id, 0)) for endpoint in parts.webhooks.all()],
        deliveries=Delivered.asked_for(visit),
        issued=issued,
        secret=secret,
        told=told,
        is_good=is_good,
        events=SUBSCRIBABLE,
        longest_url=LONGEST_URL,
        signs=bool(parts.settings.webhooks.signing_keys),
    )
