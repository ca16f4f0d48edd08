"""The trace that a submit belongs to."""

import sys


def trace_headers() -> dict[str, str]:
    """Return the headers that carry the running span's context, if the application uses OpenTelemetry."""
    headers: dict[str, str] = {}
    if "opentelemetry.trace" in sys.modules:
        from opentelemetry.propagate import inject  # noqa: PLC0415 (a part of what the application has imported)

        inject(headers)
    return headers
