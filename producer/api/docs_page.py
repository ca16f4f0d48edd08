"""`/docs`: the OpenAPI document as a page.

The API serves every file itself and the page has no inline script, so that its content security policy can be strict.
"""

import json
from functools import cache
from typing import Final

from fastapi import FastAPI, Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Rushes: the HTTP API</title>
<link rel="icon" href="docs/files/favicon-32x32.png">
<link rel="stylesheet" href="docs/files/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript; <a href="openapi.json">openapi.json</a> holds the same.</noscript>
<script src="docs/files/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START: Final = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null, // the usual one sends the document to another host
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
});
"""
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def add_docs(app: FastAPI) -> None:
    """Add the page and its files; its URLs are relative, for proxies that serve the API below a path."""
    app.add_route("/openapi.json", document, include_in_schema=False)
    app.add_route("/docs", page, include_in_schema=False)
    app.add_route("/docs/start.js", start, include_in_schema=False)
    app.mount("/docs/files", StaticFiles(packages=[("fastapi_swagger", "resources")]))


def document(request: Request) -> Response:
    """Serve the OpenAPI document."""
    return Response(_encoded(request.app), media_type="application/json")


@cache
def _encoded(app: FastAPI) -> bytes:
    """Encode it once: it is long, and anybody may ask for it."""
    return json.dumps(app.openapi(), ensure_ascii=False, separators=(",", ":")).encode()


def page(_request: Request) -> Response:
    """Serve the page; a query in the link is ignored."""
    return HTMLResponse(_PAGE, headers={"content-security-policy": _POLICY})


def start(_request: Request) -> Response:
    """Serve the start script; inline it would need a policy that allows any script."""
    return Response(_START, media_type="text/javascript")
