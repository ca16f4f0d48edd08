"""Refuses unknown query parameters: an ignored filter would let everything through."""

import difflib
import re
from collections.abc import Iterator
from typing import Final

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from producer.api.problems import Code, ErrorDetail, Problem

LONGEST_SHOWN: Final = 80
MOST_SHOWN: Final = 20
_MEMBER: Final = re.compile(r"(?s)\[.{1,64}\]$")


async def check_query(request: Request) -> None:
    """Refuse query parameters that the route does not know; a dependency of every route.

    Raises:
        Problem: naming each unknown parameter, the nearest known one, and all known ones.
    """
    if not request.scope["query_string"]:
        return
    known = known_names(request.scope["route"])
    unknown = [name for name in request.query_params if _MEMBER.sub("[name]", name) not in known]
    if unknown:
        errors = [_unknown(name[:LONGEST_SHOWN], known) for name in unknown[:MOST_SHOWN]]
        raise Problem(Code.INVALID_REQUEST, "Correct the query's parameter names; nothing was done.", errors=errors)


def known_names(route: APIRoute) -> list[str]:
    """List the query parameters that a route declares or documents; `labels[name]` stands for any member."""
    documented = (route.openapi_extra or {}).get("parameters", ())
    extra = [
        f"{parameter['name']}[name]" if parameter.get("style") == "deepObject" else parameter["name"]
        for parameter in documented
        if parameter["in"] == "query"
    ]
    return [*_declared(route.dependant), *extra]


def _declared(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for sub in dependant.dependencies:
        yield from _declared(sub)


def _unknown(name: str, known: list[str]) -> ErrorDetail:
    near = difflib.get_close_matches(_MEMBER.sub("[name]", name), known, n=1, cutoff=0.5)
    guess = f"; did you mean {near[0]}?" if near else "."
    return ErrorDetail(f"query.{name}", f"is unknown{guess} {_listed(known)}")


def _listed(known: list[str]) -> str:
    return f"Known: {', '.join(known)}." if known else "This route takes no query parameters."
