"""`/v1/keys`: an administrator issues, lists and revokes the keys of tenants."""

from http import HTTPStatus
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from producer.api.guard import Admins, GuardedRoute
from producer.api.parts import Needs
from producer.api.problems import Code, documented
from producer.keys import Scope
from producer.views import KeyView, key_view

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=GuardedRoute)

LONGEST_LIFE_S: Final = 10 * 365 * 86_400
_COMMON: Final = (
    Code.UNAUTHORIZED,
    Code.FORBIDDEN,
    Code.NOT_LOCAL,
    Code.RATE_LIMITED,
    Code.INVALID_REQUEST,
    Code.LEDGER_UNAVAILABLE,
    Code.INTERNAL,
)


class CreateKey(BaseModel):
    """What a new key is for."""

    model_config = ConfigDict(extra="forbid")

    tenant: Annotated[
        str,
        Field(
            description="The key sees and makes this tenant's jobs.",
            pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$",
            examples=["shop"],
        ),
    ]
    scopes: Annotated[
        list[Scope],
        Field(description="What the key may do.", min_length=1, max_length=4, examples=[["submit", "read"]]),
    ] = [Scope.SUBMIT, Scope.READ]
    name: Annotated[
        str, Field(description="A name for people.", max_length=100, examples=["the web shop's backend"])
    ] = ""
    expires_in_s: Annotated[
        float | None,
        Field(
            description="Seconds until it expires. Default: it never does.", gt=0, le=LONGEST_LIFE_S, examples=[7776000]
        ),
    ] = None


class IssuedKey(KeyView):
    """A new key, with the only showing of its token."""

    token: Annotated[
        str,
        Field(description="The key itself. Keep it: it is shown only once.", examples=["rushes_0123456789abcdef_…"]),
    ]


class KeyList(TypedDict):
    """Every stored key."""

    object: Annotated[Literal["list"], Field(description="Always `list`.", examples=["list"])]
    data: Annotated[list[KeyView], Field(description="The keys, the oldest first.", examples=[[]])]


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    summary="Issue a key",
    responses={201: {"model": IssuedKey}, **documented(Code.MALFORMED_BODY, Code.TOO_LARGE, *_COMMON)},
)
def issue(body: CreateKey, parts: Needs, _caller: Admins) -> Response:
    """Issue a key for a tenant."""
    issued = parts.access.issue(body.tenant, body.scopes, name=body.name, life_s=body.expires_in_s)
    answer: IssuedKey = {**key_view(issued.key), "token": issued.token}
    return JSONResponse(answer, HTTPStatus.CREATED, {"cache-control": "no-store"})


@router.get("", summary="List keys", responses={200: {"model": KeyList}, **documented(*_COMMON)})
def list_keys(parts: Needs, _caller: Admins) -> Response:
    """List the keys of all tenants, without their tokens."""
    answer: KeyList = {"object": "list", "data": [key_view(key) for key in parts.access.listed()]}
    return JSONResponse(answer)


@router.delete(
    "/{key_id}",
    summary="Revoke a key",
    responses={200: {"model": KeyView}, **documented(Code.NOT_FOUND, *_COMMON)},
)
def revoke(
    key_id: Annotated[str, Path(description="The key's id.", pattern="^[0-9a-f]{16}$", examples=["0123456789abcdef"])],
    parts: Needs,
    _caller: Admins,
) -> Response:
    """Revoke a key at once, in every process."""
    return JSONResponse(key_view(parts.access.revoke(key_id)))
