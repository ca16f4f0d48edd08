"""The trace that a producer's request belongs to. OpenTelemetry is looked up, never imported."""

import sys

from jobs.trace_context import TraceContext


def current_traceparent() -> str | None:
    """Return the W3C context of the running span, if the application uses OpenTelemetry and there is one."""
    current_span = getattr(sys.modules.get("opentelemetry.trace"), "get_current_span", None)
    if current_span is None:
        return None
    span = current_span().get_span_context()
    return str(TraceContext(span.trace_id, span.span_id, span.trace_flags)) if span.is_valid else None
