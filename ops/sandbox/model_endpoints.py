"""The endpoints that need no key: the model catalogue with prices, and the models' latencies."""

import hashlib
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from ops.sandbox.catalogue import BY_NAME, MODELS, Model
from ops.sandbox.envelopes import Json, problem, timestamp
from ops.sandbox.random_source import RandomSource
from ops.sandbox.submits import ANY_PATH

METRICS_WINDOW_S = 300
QUANTILES = {"p50": 0.50, "p75": 0.75, "p90": 0.90, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class ModelEndpoints:
    """Serves the model catalogue and latency metrics."""

    random_source: RandomSource

    async def models(self, request: Request) -> Response:
        """Return the catalogue, with an ETag."""
        wanted = {name.lower() for name in separated(request, "id")}
        sections = separated(request, "include")
        priced = bool({"pricing", "all"} & set(sections)) or request.query_params.get("details") == "true"
        shown = [model for model in MODELS if not wanted or wanted & {model.id, *model.aliases}]
        reply = Json({"object": "list", "data": [described(model, priced=priced) for model in shown]})
        etag = f'W/"{hashlib.blake2b(reply.body, digest_size=12).hexdigest()}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={"etag": etag})
        reply.headers["etag"] = etag
        return reply

    async def metrics(self, request: Request) -> Response:
        """Return percentiles of the configured latencies."""
        if unknown := set(request.query_params) - {"aliases"}:
            return problem(request.scope, 400, f"Unknown query parameter {min(unknown)}")
        aliases = request.query_params.getlist("aliases") or [model.id for model in MODELS]
        body = {
            "window_seconds": METRICS_WINDOW_S,
            "generated_at": timestamp(),
            "models": [self.measured(alias) for alias in aliases if alias in BY_NAME],
        }
        return Json(body)

    def measured(self, alias: str) -> dict[str, object]:
        """Return one model's latencies in real milliseconds."""
        scale = self.random_source.settings.time_scale
        duration_ms = {
            name: round(1000 * self.random_source.latency_quantile_s(share) / scale)
            for name, share in QUANTILES.items()
        }
        return {"alias": alias, "endpoint": ANY_PATH, "metrics": {"duration_ms": duration_ms}}


def separated(request: Request, name: str) -> list[str]:
    """Read a parameter's values, repeated or comma-separated."""
    return [value for given in request.query_params.getlist(name) for value in given.split(",") if value]


def described(model: Model, *, priced: bool) -> dict[str, object]:
    """Build one model's catalogue entry."""
    entry: dict[str, object] = {
        "id": model.id,
        "aliases": list(model.aliases),
        "type": "video",
        "info": {"name": model.title, "developer": "Google"},
        "tags": ["playground:video"],
    }
    return {**entry, "pricing": pricing(model)} if priced else entry


def pricing(model: Model) -> dict[str, object]:
    """Build the price per second, with two rates where sound costs extra."""
    if model.usd_per_s_with_sound is None:
        return {"kind": "fixed", "units": [rate(model.usd_per_s_silent)]}
    return {
        "kind": "variants",
        "dimensions": ["generate_audio"],
        "variants": [
            {"when": {"generate_audio": False}, **rate(model.usd_per_s_silent)},
            {"when": {"generate_audio": True}, **rate(model.usd_per_s_with_sound)},
        ],
    }


def rate(usd_per_s: float) -> dict[str, object]:
    """Build a price with its unit."""
    return {"price": usd_per_s, "unit": "second", "per": 1}
