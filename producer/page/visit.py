"""One visit of the page: who asks, with which form, and how it is answered.

A visitor is who its session's key says, with that key's tenant, scopes and rate limit; with keys switched off it is the
operator on this machine. A form must come from a page of ours (its Origin or Sec-Fetch-Site says so) and bring the
token that the page was served with.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from jobs.errors import LedgerUnavailable
from producer.api.forms import Fields
from producer.api.guard import Caller, check_is_local, check_quota, check_scope
from producer.api.parts import Parts
from producer.api.problems import Code, Problem
from producer.keys import Key, Scope
from producer.page.rendering import render

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "content-security-policy": POLICY,
    "referrer-policy": "same-origin",  # without a referrer browsers send no Origin with a form either
    "cache-control": "no-store",
}
TOKEN: Final = "token"  # noqa: S105 (the name of a form's field)


class SignIn(Exception):
    """The visitor must sign in first; `ended`: its session, or its key, has ended."""

    def __init__(self, *, ended: bool) -> None:
        super().__init__()
        self.ended = ended


@dataclass(frozen=True)
class Visit:
    """A request to the page, from somebody who may make it."""

    request: Request
    parts: Parts
    key: Key | None
    """None: the operator on this machine."""
    token: str
    """What this visitor's forms must bring."""
    form: Fields = field(default=())

    @property
    def tenant(self) -> str | None:
        """Whose jobs the visitor sees; None: all."""
        return None if self.key is None else self.key.tenant

    @property
    def caller(self) -> Caller:
        """The same as the API's routes know it."""
        return Caller(self.tenant, is_admin=self.may(Scope.ADMIN))

    @property
    def root(self) -> str:
        """The way from this page to `/`: links are relative, for proxies that serve the API below a path."""
        return root_of(self.request)

    def may(self, scope: Scope) -> bool:
        """Whether the visitor's key has the scope."""
        return self.key is None or scope in self.key.scopes

    def text(self, name: str) -> str:
        """Return a field of the form as text; empty if it is absent."""
        return next((value for key, value in self.form if key == name and isinstance(value, str)), "")

    def page(self, template: str, status: HTTPStatus = HTTPStatus.OK, **values: Any) -> Response:
        """Answer with a page."""
        return html(template, status, visit=self, root=self.root, **values)

    def go(self, path: str) -> Response:
        """Send the browser on, after a form, to a page given by its path without the leading slash."""
        return RedirectResponse(self.root + path, HTTPStatus.SEE_OTHER, {"cache-control": "no-store"})


def root_of(request: Request) -> str:
    """Return the relative way from a request's path to `/`."""
    return "../" * (request.scope["path"].removeprefix(request.scope.get("root_path", "")).count("/") - 1) or "./"


def html(template: str, status: HTTPStatus, *, headers: Mapping[str, str] = HEADERS, **values: Any) -> Response:
    """Render a template as a reply with the page's headers."""
    return HTMLResponse(render(template, **values), status, headers=dict(headers))


async def admit(request: Request, parts: Parts, scope: Scope | None, *, cost: int = 1) -> Visit:
    """Admit a visitor whose key has the scope (None: any key), and charge `cost` requests to its rate limit.

    Raises:
        SignIn: there is no session, or it has ended.
        Problem: the key lacks the scope, or has used up its rate limit; or, without keys, a stranger asks.
    """
    if parts.settings.api.auth == "off":
        check_is_local(request, parts)
        return Visit(request, parts, None, await run_in_threadpool(_token, parts, "local"))
    cookie = request.cookies.get(cookie_name(request, parts), "")
    admitted = await parts.sessions.admit(cookie, cost=cost) if cookie else None
    if admitted is None:
        raise SignIn(ended=bool(cookie))
    request.state.quota = admitted.quota
    if scope is not None:
        check_scope(admitted.key, scope)
    check_quota(admitted.quota)
    return Visit(request, parts, admitted.key, await run_in_threadpool(_token, parts, cookie))


async def is_still_admitted(visit: Visit) -> bool:
    """Whether a visitor who is being answered would still be admitted: its key may have been revoked, or expired."""
    try:
        await admit(visit.request, visit.parts, Scope.READ, cost=0)
    except (SignIn, Problem):
        return False
    except LedgerUnavailable:
        pass  # nobody can revoke a key now
    return True


def check_came_from_here(request: Request) -> None:
    """Refuse a form that a page of another origin sent, or that hides where it came from.

    Raises:
        Problem: it was.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin", "")
    host = request.headers.get("host", "")
    is_same = urlsplit(origin).netloc == host if site is None and _is_url(origin) else site == "same-origin"
    if not is_same:
        raise Problem(Code.FORBIDDEN, "The form was not sent by a page of this address. Open the page and try again.")


def check_token(visit: Visit) -> None:
    """Refuse a form without the token of this visitor's pages.

    Raises:
        Problem: it lacks it.
    """
    if not hmac.compare_digest(visit.text(TOKEN).encode(), visit.token.encode()):
        raise Problem(Code.FORBIDDEN, "The form is of another session. Open the page again and repeat it.")


def is_https(request: Request, parts: Parts) -> bool:
    """Whether browsers reach the page by https."""
    return request.url.scheme == "https" or str(parts.settings.api.public_url or "").startswith("https:")


def cookie_name(request: Request, parts: Parts) -> str:
    """Name the session's cookie; by https only this very host can set it."""
    return "__Host-rushes" if is_https(request, parts) else "rushes"


def _token(parts: Parts, secret: str) -> str:
    return hmac.new(parts.links.secret, f"page {secret}".encode(), hashlib.sha256).hexdigest()


def _is_url(origin: str) -> bool:
    try:
        return bool(urlsplit(origin).netloc)
    except ValueError:
        return False
