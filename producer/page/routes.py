"""The page's routes. None of them lies below `/v1` or `/v2`, and none of those takes a session's cookie."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import replace
from http import HTTPMethod, HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from jobs.errors import JobError, UnknownEndpoint, UnknownKey
from producer.api.border import too_large
from producer.api.forms import Fields, read_fields
from producer.api.guard import room_for_body
from producer.api.parsing import QUICK_BYTES, is_long
from producer.api.parts import Parts, parts_of
from producer.api.problems import KINDS, Code, Problem
from producer.api.refusals import problem_of
from producer.api.turns import turn
from producer.api.videos import kind_of_body
from producer.keys import Scope
from producer.page import compose, endpoints, gallery, job, live, now, operate, signing
from producer.page.visit import SignIn, Visit, admit, check_came_from_here, check_token, html, root_of

Handler = Callable[[Visit], Response | Awaitable[Response]]
Answer = Callable[[Request], Awaitable[Response]]
_FORMS: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})


def add_page(app: FastAPI) -> None:
    """Add the page's routes and files."""
    shown: list[tuple[str, Handler, Scope | None]] = [
        ("/", now.show, None),
        ("/gallery", gallery.show, Scope.READ),
        ("/jobs/{job_id}", job.show, Scope.READ),
        ("/jobs/{job_id}/video", job.file, Scope.READ),
        ("/new", compose.show, Scope.SUBMIT),
        ("/operate", operate.show, Scope.ADMIN),
    ]
    for path, handler, scope in shown:
        app.add_route(path, _shown(handler, scope), include_in_schema=False)
    app.add_route("/jobs/{job_id}/{file}", _shown(job.file, Scope.READ, cost=0), include_in_schema=False)
    app.add_route("/live", _shown(live.stream, Scope.READ, cost=0), include_in_schema=False)
    posted: list[tuple[str, Handler, Scope | None]] = [
        ("/new", compose.submit, Scope.SUBMIT),
        ("/new/file", compose.submit_file, Scope.SUBMIT),
        ("/jobs/{job_id}/cancel", job.cancel, Scope.SUBMIT),
        ("/jobs/{job_id}/retry", job.retry, Scope.SUBMIT),
        ("/jobs/{job_id}/erase", job.remove, Scope.SUBMIT),
        ("/jobs/{job_id}/redeliver", job.redeliver, Scope.SUBMIT),
        ("/jobs/{job_id}/decide", job.decide, Scope.ADMIN),
        ("/operate/pause", operate.pause, Scope.ADMIN),
        ("/operate/limit", operate.limit, Scope.ADMIN),
        ("/operate/unset", operate.unset, Scope.ADMIN),
        ("/operate/resume", operate.resume, Scope.ADMIN),
        ("/operate/try", operate.try_now, Scope.ADMIN),
        ("/operate/issue", operate.issue, Scope.ADMIN),
        ("/operate/revoke", operate.revoke, Scope.ADMIN),
        ("/operate/endpoint", endpoints.add, Scope.ADMIN),
        ("/operate/endpoint/redeliver", endpoints.redeliver, Scope.ADMIN),
        ("/operate/endpoint/change", endpoints.change, Scope.ADMIN),
        ("/signout", signing.sign_out, None),
    ]
    for path, handler, scope in posted:
        app.add_route(path, _posted(handler, scope), methods=[HTTPMethod.POST], include_in_schema=False)
    app.add_route("/signin", _explained(signing.show), include_in_schema=False)
    app.add_route("/signin", _explained(_signed_in), methods=[HTTPMethod.POST], include_in_schema=False)
    app.mount("/assets", StaticFiles(directory=Path(__file__).parent / "assets"))


def _shown(handler: Handler, scope: Scope | None, *, cost: int = 1) -> Answer:
    """Serve what a visitor may see."""

    async def answer(request: Request) -> Response:
        return await _handled(handler, await admit(request, parts_of(request), scope, cost=cost))

    return _explained(answer)


def _posted(handler: Handler, scope: Scope | None) -> Answer:
    """Do what a visitor's form asks for: key, scope and origin are judged before the body is read."""

    async def answer(request: Request) -> Response:
        parts = parts_of(request)
        visit = await admit(request, parts, scope)
        check_came_from_here(request)
        async with room_for_body(request, visit.caller):
            visit = replace(visit, form=await _fields(request, parts))
            check_token(visit)
            return await _handled(handler, visit)

    return _explained(answer)


async def _signed_in(request: Request) -> Response:
    parts = parts_of(request)
    check_came_from_here(request)
    if is_long(request.headers):  # of somebody whose key is not known yet
        raise too_large(QUICK_BYTES)
    return await signing.sign_in(request, parts, dict(await _fields(request, parts)))


async def _fields(request: Request, parts: Parts) -> Fields:
    kind = kind_of_body(request)
    if kind not in _FORMS:
        raise Problem(Code.UNSUPPORTED_MEDIA_TYPE, "Send the form of the page.")
    return await read_fields(request, kind, most_bytes=parts.settings.body_bytes)


async def _handled(handler: Handler, visit: Visit) -> Response:
    if inspect.iscoroutinefunction(handler):
        found: Response = await handler(visit)
        return found
    async with turn(visit.parts.turns, visit.token):
        return await run_in_threadpool(handler, visit)  # type: ignore[arg-type]  # the others are plain functions


def _explained(answer: Answer) -> Answer:
    """Turn every refusal into a page that says it in the API's words."""

    async def explained(request: Request) -> Response:
        try:
            return await answer(request)
        except SignIn as needed:
            return _to_sign_in(request, ended=needed.ended)
        except Problem as problem:
            return _refused(request, problem)
        except (JobError, UnknownKey, UnknownEndpoint) as error:
            return _refused(request, problem_of(error))

    return explained


def _refused(request: Request, problem: Problem) -> Response:
    kind = KINDS[problem.code]
    told: dict[str, Any] = {
        "title": kind.title,
        "detail": problem.detail,
        "may_sign_in": problem.code is Code.FORBIDDEN,
    }
    reply = html("problem.html", kind.status, root=root_of(request), visit=None, **told)
    reply.headers.update(problem.headers)
    return reply


def _to_sign_in(request: Request, *, ended: bool) -> Response:
    """Send people to the form; what a page loads, and a form that comes too late, gets 401."""
    if request.method == "GET" and request.headers.get("sec-fetch-dest", "document") in {"document", ""}:
        wanted = request.url.path.lstrip("/") + (f"?{request.url.query}" if request.url.query else "")
        query = urlencode({"next": wanted, **({"ended": "1"} if ended else {})})
        return RedirectResponse(
            f"{root_of(request)}signin?{query}", HTTPStatus.SEE_OTHER, {"cache-control": "no-store"}
        )
    return PlainTextResponse("Sign in first.", HTTPStatus.UNAUTHORIZED, {"cache-control": "no-store"})
