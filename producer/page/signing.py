"""Signing in and out: a key becomes a session, whose cookie scripts cannot read and other sites cannot use."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from producer.api.parts import Parts, parts_of
from producer.keys import Key, Scope
from producer.page.visit import Visit, cookie_name, html, is_https
from producer.sessions import LIFE_S

_OURS: Final = re.compile(r"(?:[a-z]{1,20}(?:/[a-z0-9_]{1,40})?)?(?:\?[^#\\\s]{0,2000})?")
"""A page of ours, by its path without the leading slash: nobody is sent elsewhere after signing in."""


async def show(request: Request) -> Response:
    """Ask for a key."""
    return _form(request, wanted=request.query_params.get("next", ""), ended="ended" in request.query_params)


async def sign_in(request: Request, parts: Parts, form: Mapping[str, object]) -> Response:
    """Turn a good key into a session."""
    wanted = str(form.get("next", ""))
    opened = await parts.sessions.open(str(form.get("key", "")).strip())
    if opened is None:
        return _form(request, wanted=wanted, refused=True)
    cookie, admitted = opened
    reply = _go(wanted if wanted and _OURS.fullmatch(wanted) else home_of(admitted.key))
    reply.set_cookie(
        cookie_name(request, parts), cookie, max_age=LIFE_S, secure=is_https(request, parts), httponly=True,
        samesite="strict",
    )  # fmt: skip
    return reply


async def sign_out(visit: Visit) -> Response:
    """End the session."""
    request, parts = visit.request, visit.parts
    name = cookie_name(request, parts)
    await parts.sessions.end(request.cookies.get(name, ""))
    reply = _go("signin")
    reply.delete_cookie(name, secure=is_https(request, parts), httponly=True, samesite="strict")
    return reply


def home_of(key: Key) -> str:
    """Return the first page that a key opens."""
    return "" if Scope.READ in key.scopes else "new" if Scope.SUBMIT in key.scopes else "operate"


def _form(request: Request, *, wanted: str, ended: bool = False, refused: bool = False) -> Response:
    if parts_of(request).settings.api.auth == "off":
        return _go("")
    wanted = wanted if _OURS.fullmatch(wanted) else ""
    status = HTTPStatus.FORBIDDEN if refused else HTTPStatus.OK
    by_link = request.headers.get("sec-fetch-site") == "cross-site"  # such a request brings no strict cookie
    return html(
        "signin.html", status, wanted=wanted, ended=ended, refused=refused, by_link=by_link, root="./", visit=None
    )


def _go(path: str) -> Response:
    return RedirectResponse(f"./{path}", HTTPStatus.SEE_OTHER, {"cache-control": "no-store"})
