"""`/v1/status`: what a person wants to know at a glance."""

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from producer.api.guard import GuardedRoute, Reads
from producer.api.parts import Needs
from producer.api.problems import documented
from producer.api.videos import COMMON
from producer.status import StatusView

router = APIRouter(prefix="/v1/status", tags=["queue"], route_class=GuardedRoute)


@router.get("", summary="The status", responses={200: {"model": StatusView}, **documented(*COMMON)})
def show(parts: Needs, caller: Reads) -> Response:
    """What is in flight, what holds it, and what needs a person; without the scope `admin` the tenant's own part."""
    return JSONResponse(parts.status(tenant=None if caller.is_admin else caller.tenant))
