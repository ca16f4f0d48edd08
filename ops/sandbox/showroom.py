"""The endpoints that need no key: the catalogue with its prices, and how fast the models are just now."""

import hashlib
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from ops.sandbox.catalogue import BY_NAME, MODELS, Model
from ops.sandbox.dice import Dice
from ops.sandbox.envelopes import Json, problem, timestamp
from ops.sandbox.submits import ANY_PATH

METRICS_WINDOW_S = 300
QUANTILES = {"p50": 0.50, "p75": 0.75, "p90": 0.90, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Showroom:
    """Tells anyone what is on offer."""

    dice: Dice

    async def models(self, request: Request) -> Response:
        """The catalogue, with an ETag that a caller can send back."""
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
        """Percentiles of the latencies that are being dealt."""
        if strange := set(request.query_params) - {"aliases"}:
            return problem(request.scope, 400, f"Unknown query parameter {min(strange)}")
        aliases = request.query_params.getlist("aliases") or [model.id for model in MODELS]
        body = {
            "window_seconds": METRICS_WINDOW_S,
            "generated_at": timestamp(),
            "models": [self.measured(alias) for alias in aliases if alias in BY_NAME],
        }
        return Json(body)

    def measured(self, alias: str) -> dict[str, object]:
        """One model's latencies, as a clock on the wall would measure them."""
        scale = self.dice.settings.time_scale
        duration_ms = {
            name: round(1000 * self.dice.latency_quantile_s(share) / scale) for name, share in QUANTILES.items()
        }
        return {"alias": alias, "endpoint": ANY_PATH, "metrics": {"duration_ms": duration_ms}}


def separated(request: Request, name: str) -> list[str]:
    """A parameter's values, repeated or comma-separated."""
    return [value for given in request.query_params.getlist(name) for value in given.split(",") if value]


def described(model: Model, *, priced: bool) -> dict[str, object]:
    """One model's entry in the catalogue."""
    entry: dict[str, object] = {
        "id": model.id,
        "aliases": list(model.aliases),
        "type": "video",
        "info": {"name": model.title, "developer": "Google"},
        "tags": ["playground:video"],
    }
    return {**entry, "pricing": pricing(model)} if priced else entry


def pricing(model: Model) -> dict[str, object]:
    """What a second costs; with two rates where sound costs extra."""
    if model.usd_per_s_sounding is None:
        return {"kind": "fixed", "units": [rate(model.usd_per_s_silent)]}
    return {
        "kind": "variants",
        "dimensions": ["generate_audio"],
        "variants": [
            {"when": {"generate_audio": False}, **rate(model.usd_per_s_silent)},
            {"when": {"generate_audio": True}, **rate(model.usd_per_s_sounding)},
        ],
    }


def rate(usd_per_s: float) -> dict[str, object]:
    """A price with its unit."""
    return {"price": usd_per_s, "unit": "second", "per": 1}
