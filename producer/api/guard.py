"""Access control: a key's tenant, scopes and rate limit; with keys switched off, this machine only."""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.responses import Response

from config.addresses import is_loopback, leads_here
from jobs.errors import LedgerUnavailable
from jobs.trace_context import traceparent_of
from producer.api.parsing import JsonRequest, is_long
from producer.api.parts import Parts, parts_of
from producer.api.problems import Code, Problem
from producer.api.turns import turn
from producer.keys import Key, Quota, Scope
from producer.trace_context import current_traceparent


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request. Without a tenant it is the operator on this machine, who sees all jobs.

    `is_admin`: it may see and change what concerns all tenants. `traceparent`: the trace that its jobs belong to.
    """

    tenant: str | None
    is_admin: bool
    traceparent: str | None = None


async def admit(request: Request, parts: Parts, scope: Scope, *, cost: int = 1) -> Caller:
    """Authenticate the sender, check its scope, and charge `cost` requests to its rate limit.

    Raises:
        Problem: the key is invalid, lacks the scope, or has used up its rate limit.
    """
    settings = parts.settings.api
    if settings.auth == "off":
        check_is_local(request, parts)
        return Caller(None, is_admin=True, traceparent=_traceparent(request, scope))
    admitted = await parts.access.admit(_token(request), per_min=settings.requests_per_min, cost=cost)
    if admitted is None:
        raise Problem(Code.UNAUTHORIZED, "This key is unknown, expired or revoked.", headers=_CHALLENGE)
    request.state.quota = admitted.quota
    check_scope(admitted.key, scope)
    check_quota(admitted.quota)
    return Caller(admitted.key.tenant, Scope.ADMIN in admitted.key.scopes, _traceparent(request, scope))


async def is_still_admitted(request: Request, parts: Parts, scope: Scope) -> bool:
    """Whether a request that is being answered would still be admitted: its key may have been revoked, or expired."""

    async def ask() -> bool:
        try:
            await admit(request, parts, scope, cost=0)
        except Problem:
            return False
        except LedgerUnavailable:
            pass  # nobody can revoke a key now
        return True

    return await parts.admissions.is_admitted((request.headers.get("authorization", ""), scope), ask)


@dataclass(frozen=True, slots=True)
class _Guard:
    """A dependency that admits callers whose keys have this scope, once for each request."""

    scope: Scope

    async def __call__(self, request: Request) -> Caller:  # a parameter of type `Needs` would be resolved twice
        state = request.state
        if not hasattr(state, "caller"):
            state.caller = await admit(request, parts_of(request), self.scope)
        caller: Caller = state.caller
        return caller


@asynccontextmanager
async def room_for_body(request: Request, caller: Caller) -> AsyncIterator[None]:
    """Wait for a place before a long body is read, and hold it: the bodies in memory are bounded, of one tenant too.

    Raises:
        Problem: there is none; the caller may try again.
    """
    if not is_long(request.headers):
        yield
        return
    async with parts_of(request).large_bodies.place(caller.tenant):
        yield


class GuardedRoute(APIRoute):
    """A route that admits the caller before its body is read: FastAPI reads it before it resolves any dependency.

    Each request waits for its key's turn; one with a body, which may be slow in coming, has it until it is admitted.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's own handler of a guarded route."""
        handle = super().get_route_handler()
        guards = [each.call for each in self.dependant.dependencies if isinstance(each.call, _Guard)]
        if not guards:
            return handle
        (guard,) = guards

        async def handle_admitted(request: Request) -> Response:
            if not _has_body(request.headers):
                async with _turn_of(request):
                    await guard(request)
                    return await handle(request)
            async with _turn_of(request):
                caller = await guard(request)
            if self.body_field is None:  # the route reads it by itself
                return await handle(request)
            async with room_for_body(request, caller):
                admitted = JsonRequest(request.scope, request.receive)
                await admitted.body()  # here, as FastAPI would call every error in it a syntax error
                return await handle(admitted)

        return handle_admitted


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def _turn_of(request: Request) -> AbstractAsyncContextManager[None]:
    """Return the turn of those with the same key, which nobody has looked at yet."""
    return turn(parts_of(request).turns, request.headers.get("authorization"))


Submits = Annotated[Caller, Depends(_Guard(Scope.SUBMIT))]
Reads = Annotated[Caller, Depends(_Guard(Scope.READ))]
Admins = Annotated[Caller, Depends(_Guard(Scope.ADMIN))]
Scrapes = Annotated[Caller, Depends(_Guard(Scope.METRICS))]

_CHALLENGE: Final = {"www-authenticate": "Bearer"}


def _token(request: Request) -> str:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        detail = "Send `Authorization: Bearer <key>`. The operator issues keys: `rushes keys issue`."
        raise Problem(Code.UNAUTHORIZED, detail, headers=_CHALLENGE)
    return token.strip()


def _traceparent(request: Request, scope: Scope) -> str | None:
    """Return the context of our span around a request that may submit, if there is one, or else the caller's."""
    if scope is not Scope.SUBMIT:
        return None
    return current_traceparent() or traceparent_of(request.headers.getlist("traceparent"))


def check_scope(key: Key, scope: Scope) -> None:
    """Refuse a key without the scope."""
    if scope not in key.scopes:
        held = ", ".join(sorted(key.scopes))
        raise Problem(Code.FORBIDDEN, f"This needs a key with the scope `{scope}`; this one has: {held}.")


def check_quota(quota: Quota) -> None:
    """Refuse a request that is beyond the key's rate limit."""
    if quota.wait_s > 0:
        seconds = str(int(quota.wait_s) + 1)
        detail = f"This key may send {quota.per_min} requests a minute. Try again in {seconds} s."
        raise Problem(Code.RATE_LIMITED, detail, headers={"retry-after": seconds})


def check_is_local(request: Request, parts: Parts) -> None:
    """Without keys serve only this machine, and no web page of another origin that a browser here has open."""
    if request.client is None or not is_loopback(request.client.host):
        detail = "Keys are switched off (RUSHES_API__AUTH=off), so only this machine is served."
        raise Problem(Code.NOT_LOCAL, detail)
    if not leads_here(f"//{request.headers.get('host', '')}"):
        raise Problem(Code.NOT_LOCAL, "While keys are switched off, call the API as 127.0.0.1 or localhost.")
    if not _is_ours(request.headers, parts.settings.api.cors_origins):
        raise Problem(Code.NOT_LOCAL, "While keys are switched off, web pages of other origins are not served.")


def _is_ours(headers: Headers, allowed: Sequence[str]) -> bool:
    """Whether no page, or one of this machine or an allowed origin, sent a request.

    Browsers send no `Origin` with pictures, scripts and frames of a page, but `Sec-Fetch-Site` (W3C Fetch Metadata). A
    link that a person follows may come from anywhere.
    """
    origin = headers.get("origin")
    if origin is None:
        is_link = (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == ("navigate", "document")
        if headers.get("sec-fetch-site") != "cross-site" or is_link:
            return True
        scheme, _, rest = headers.get("referer", "").partition("://")
        origin = f"{scheme}://{rest.partition('/')[0]}"
    return origin in allowed or leads_here(origin)
