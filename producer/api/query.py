"""Query names that a route does not declare are refused: a filter that is ignored lets everything by."""

import difflib
import re
from collections.abc import Iterator
from typing import Final

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from producer.api.problems import Code, Problem, Wrong

LONGEST_SHOWN: Final = 80
MOST_SHOWN: Final = 20
_MEMBER: Final = re.compile(r"(?s)\[.{1,64}\]$")


async def check_query(request: Request) -> None:
    """Refuse a request whose query holds a name that the route does not know; a dependency of every route.

    Raises:
        Problem: naming each such name, the nearest that is known, and all that are.
    """
    if not request.scope["query_string"]:
        return
    known = known_names(request.scope["route"])
    unknown = [name for name in request.query_params if _MEMBER.sub("[name]", name) not in known]
    if unknown:
        wrongs = [_wrong(name[:LONGEST_SHOWN], known) for name in unknown[:MOST_SHOWN]]
        raise Problem(Code.INVALID_REQUEST, "Mend the names in the query; nothing was done.", errors=wrongs)


def known_names(route: APIRoute) -> list[str]:
    """The query names that a route declares or documents; `labels[name]` stands for any member of such an object."""
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


def _wrong(name: str, known: list[str]) -> Wrong:
    near = difflib.get_close_matches(_MEMBER.sub("[name]", name), known, n=1, cutoff=0.5)
    guess = f"; did you mean {near[0]}?" if near else "."
    return Wrong(f"query.{name}", f"is not known here{guess} {_listed(known)}")


def _listed(known: list[str]) -> str:
    return f"Known: {', '.join(known)}." if known else "This address takes no query."
