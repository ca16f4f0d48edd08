"""`/operate`: what an administrator does: pause and resume buying, limits, keys, webhook endpoints."""

import re
from typing import Final

from starlette.responses import Response

from jobs.pauses import LONGEST_TEXT
from producer.api.keys import CreateKey
from producer.api.problems import Code, Problem
from producer.deliveries import endpoint_view
from producer.keys import Issued, Scope
from producer.limits import SCOPE, limits_view, parsed_limit
from producer.page.visit import Visit
from producer.waiting import paused

DAY_S: Final = 86_400
_KEY_ID: Final = re.compile(r"[0-9a-f]{16}")


def show(visit: Visit) -> Response:
    """Show the pause, the keys and the endpoints."""
    return _page(visit)


def pause(visit: Visit) -> Response:
    """Pause buying."""
    by = visit.tenant or "the operator"
    visit.parts.service.pause(by=by, reason=visit.text("reason").strip(), what=_what(visit))
    return visit.go("operate")


def resume(visit: Visit) -> Response:
    """Resume buying."""
    visit.parts.service.resume(what=_what(visit))
    return visit.go("operate")


def _what(visit: Visit) -> str | None:
    """Read what is to be paused: everything, a tenant or a model."""
    kind, name = visit.text("kind"), visit.text("name").strip()
    if kind not in {"", "tenant", "model"} or len(name) > LONGEST_TEXT:
        raise Problem(Code.INVALID_REQUEST, "Pause everything, a tenant, or a model.")
    return f"{kind}:{name}" if kind else None


def limit(visit: Visit) -> Response:
    """Set limits; a field left empty says nothing, and if all are empty, what was set is forgotten."""
    scope = visit.text("scope").strip()
    given = {name: visit.text(name).strip() or None for name in ("in_flight", "per_min", "weight")}
    try:
        if any(given.values()):
            visit.parts.service.set_limit(scope, parsed_limit(scope, **given))
        elif SCOPE.fullmatch(scope):
            visit.parts.service.unset_limit(scope)
    except ValueError as error:
        raise Problem(Code.INVALID_REQUEST, f"Nothing was set: {error}.") from error
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
    except ValueError as error:
        detail = "A tenant's name is up to 63 of a-z, 0-9, - and _; choose at least one scope; days is a number."
        raise Problem(Code.INVALID_REQUEST, detail) from error
    life_s = wanted.expires_in_s
    issued = visit.parts.access.issue(wanted.tenant, wanted.scopes, name=wanted.name, life_s=life_s)
    return _page(visit, issued=issued)


def revoke(visit: Visit) -> Response:
    """Revoke a key at once, and with it all its sessions."""
    key_id = visit.text("key")
    if not _KEY_ID.fullmatch(key_id):
        raise Problem(Code.NOT_FOUND, "There is no such key.")
    visit.parts.access.revoke(key_id)
    return visit.go("operate")


def _page(visit: Visit, *, issued: Issued | None = None) -> Response:
    parts = visit.parts
    holds, waiting = parts.service.holds(), parts.receivers.waiting()
    return visit.page(
        "operate.html",
        pauses=[(pause, paused(pause)) for pause in holds.pauses.values()],
        limits=limits_view(holds),
        keys=parts.access.listed(),
        now=parts.service.now(),
        scopes=list(Scope),
        endpoints=[endpoint_view(endpoint, waiting=waiting.get(endpoint.id, 0)) for endpoint in parts.webhooks.all()],
        issued=issued,
    )
