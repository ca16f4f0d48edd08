"""Builds the app: routes, middleware, error handlers, and a complete OpenAPI document."""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPMethod
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from fastapi import Depends, FastAPI
from pydantic import TypeAdapter
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Scope

from config.connection import connect, connect_async, retention
from config.settings import Settings
from config.store import open_store
from config.traces import span_export
from config.version import installed_version
from jobs.job_log import JobLog
from jobs.scripts import Scripts
from producer.api import (
    batches,
    events,
    health,
    keys,
    limits,
    metrics_route,
    models,
    queue,
    status,
    upstream_face,
    videos,
    webhooks,
)
from producer.api.border import Border
from producer.api.content import DOWNLOADS
from producer.api.create_video import CreateVideo
from producer.api.docs_page import add_docs
from producer.api.event_stream import EventStream
from producer.api.metrics import Metrics
from producer.api.parsing import LARGE_BODIES
from producer.api.parts import Parts
from producer.api.picture_pool import PicturePool
from producer.api.pictures import PictureCheck
from producer.api.problems import ProblemView
from producer.api.query import check_query
from producer.api.refusals import install
from producer.api.streams import WATCHERS
from producer.api.tenant_pool import TenantPlaces
from producer.api.turns import TURNS
from producer.keys import make_access
from producer.models.catalogue import MODELS, schema_of
from producer.page.routes import add_page
from producer.service import make_service
from producer.sessions import Sessions
from producer.status import seen_within_s

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig

    from config.span_export import SpanExport

DESCRIPTION: Final = (
    "Turns prompts into stored videos, reliably. Fields have the names of OpenAI's Videos where it has them. Errors "
    "are RFC 9457 problems with a `code`; docs/reference/errors.md lists all codes."
)
_METHODS: Final = (HTTPMethod.GET, HTTPMethod.HEAD, HTTPMethod.POST, HTTPMethod.DELETE)
OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})
"""Paths that need no key, because they show nothing about jobs."""

_REF: Final = "#/components/schemas/{model}"


def make_app(settings: Settings) -> FastAPI:
    """Make the app for these settings; it connects to Redis on first use."""
    export = span_export("rushes-api", lambda: _job_log(settings))
    app = FastAPI(
        title="Rushes",
        description=DESCRIPTION,
        version=installed_version(),
        openapi_url=None,  # FastAPI's own route encodes the document again for each request
        docs_url=None,  # FastAPI's own page loads its scripts from another host
        redoc_url=None,
        lifespan=_life,
        dependencies=[Depends(check_query)],
        telemetry=_telemetry(export) if export else None,
    )
    check = PictureCheck(settings.queue.request_bytes).check
    pictures = PicturePool(check) if settings.api.check_pictures else None
    on_loop = connect_async(settings.redis, name="api")
    service = make_service(settings, on_loop=on_loop, subscribers=[export.note] if export else ())
    access = make_access(settings, on_loop=on_loop)
    event_stream = EventStream(service)
    metrics = Metrics(service, event_stream, seen_within_s=seen_within_s(settings))
    app.state.redis, app.state.export = on_loop, export
    sessions = Sessions(access, on_loop, per_min=settings.api.requests_per_min)
    app.state.parts = Parts(
        settings,
        service,
        access,
        sessions,
        pictures,
        TenantPlaces(LARGE_BODIES),
        TenantPlaces(WATCHERS),
        TenantPlaces(DOWNLOADS),
        TenantPlaces(TURNS),
        open_store(settings),
        event_stream,
        metrics,
    )
    app.include_router(videos.router)  # the busiest first: routes are tried in this sequence
    app.include_router(batches.router)
    app.include_router(webhooks.router)
    app.include_router(events.router)
    app.include_router(upstream_face.router)
    app.include_router(models.router)
    app.include_router(keys.router)
    app.include_router(queue.router)
    app.include_router(limits.router)
    app.include_router(status.router)
    app.include_router(metrics_route.router)
    app.include_router(health.router)
    add_docs(app)
    add_page(app)
    install(app)
    if settings.api.cors_origins:
        app.add_middleware(CORSMiddleware, **_cors(settings.api.cors_origins))
    app.add_middleware(Border, body_bytes=settings.body_bytes, metrics=metrics)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # FastAPI's own way to extend it
    return app


def _job_log(settings: Settings) -> JobLog:
    client = connect(settings.redis, name="traces")
    return JobLog(Scripts(client, retention=retention(settings), clock=None, subscribers=()))


def _telemetry(export: "SpanExport") -> "TelemetryConfig":
    """Have FastAPI make a span around each request that changes something.

    Reads make none: a client that polls makes hundreds, and the query of a signed link is a secret.
    """

    def is_left_out(scope: Scope) -> bool:
        return scope.get("method") in {"GET", "HEAD", "OPTIONS"} or "/files/" in scope.get("path", "")

    return {
        "tracer_provider": export.provider,
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "auto_configure": False,
        "exclude": is_left_out,
    }


@asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    """End all event streams as soon as the process is to stop, because the server waits for open requests.

    Spans that are left are sent last.
    """
    parts: Parts = app.state.parts
    with _first_on(parts.event_stream.close):
        yield
    if parts.pictures is not None:
        parts.pictures.close()
    await app.state.redis.aclose()
    if app.state.export is not None:  # now, because the server ends by the signal that stopped it, without atexit
        await asyncio.to_thread(app.state.export.close)


@contextmanager
def _first_on(act: Callable[[], None]) -> Iterator[None]:
    """Call `act` on SIGINT or SIGTERM, before the server's own handler."""
    if threading.current_thread() is not threading.main_thread():
        yield  # a server within a test gets no signals
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(act)
        previous = before[signal.Signals(number)]
        if callable(previous):
            previous(number, frame)

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _cors(origins: tuple[str, ...]) -> dict[str, Any]:
    """Let pages of these origins call the API with a key; it uses no cookies."""
    return {
        "allow_origins": origins,
        "allow_methods": [method.value for method in _METHODS],
        "allow_headers": [
            "authorization",
            "content-type",
            "idempotency-key",
            "if-none-match",
            "last-event-id",
            "prefer",
            "traceparent",
            "tracestate",
        ],
        "expose_headers": ["etag", "location", "retry-after", "idempotency-replayed", "x-request-id", "ratelimit"],
        "max_age": 600,
    }


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Build the document, with the models that routes reference without FastAPI's knowledge."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    document = FastAPI.openapi(app)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for model in (CreateVideo, ProblemView):
        schema = TypeAdapter(model).json_schema(ref_template=_REF)
        schemas |= schema.pop("$defs", {})
        schemas[model.__name__] = schema
    schemas |= {family.__name__: schema_of(family) for family in MODELS.values()}
    schemas["CreateVideo"]["description"] += " `x-parameters` names the schema of each known model's own parameters."
    schemas["CreateVideo"]["x-parameters"] = {
        model: {"$ref": _REF.format(model=family.__name__)} for model, family in MODELS.items()
    }
    schemas["CreateVideoForm"] = _form(schemas["CreateVideo"])
    document["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "A tenant's key: `rushes keys issue`."}
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["security"] = [] if path in OPEN_PATHS else [{"key": []}]
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own, which we never send
        schemas.pop(name, None)
    return document


def _form(schema: dict[str, Any]) -> dict[str, Any]:
    """Derive the form's schema: the same fields, with a file as the picture."""
    picture = {
        "type": "string",
        "format": "binary",
        "description": "The first frame as a file: PNG, JPEG, GIF or WebP.",
    }
    return {**schema, "title": "CreateVideoForm", "properties": {**schema["properties"], "input_reference": picture}}
