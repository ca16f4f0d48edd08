"""Whether this process sends traces: by OpenTelemetry's standard variables, if the extra `traces` is installed."""

import logging
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from jobs.job_log import JobLog

if TYPE_CHECKING:
    from config.span_export import SpanExport

log = logging.getLogger("rushes.traces")

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOL: Final = "http/protobuf"
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def span_export(service: str, job_log: Callable[[], JobLog]) -> "SpanExport | None":
    """Start to send the spans of this process, which is called `service` unless OTEL_SERVICE_NAME says otherwise.

    None: nobody asked for them, and OpenTelemetry is not imported; or they cannot be sent, and the log says why.
    """
    if not _are_wanted(os.environ):
        return None
    try:
        return _started(service, job_log())
    except ModuleNotFoundError:
        why = "OpenTelemetry is not installed: pip install 'rushes[traces]'"
    except Exception as error:  # noqa: BLE001 (whatever a variable of OpenTelemetry's is set to, jobs go on)
        why = f"{type(error).__name__}: {error}"
    log.warning("no traces are sent: %s", why)
    return None


def _started(service: str, job_log: JobLog) -> "SpanExport":
    from config.span_export import SpanExport  # noqa: PLC0415 (only where it is wanted, and installed)

    protocol = _first(os.environ, _PROTOCOLS) or _PROTOCOL
    if protocol != _PROTOCOL:
        raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol}; Rushes has {_PROTOCOL}, usually at port 4318")
    return SpanExport.started(service, job_log)


def _are_wanted(environment: Mapping[str, str]) -> bool:
    is_off = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    exporters = [one.strip().lower() for one in environment.get("OTEL_TRACES_EXPORTER", "").split(",")]
    return not is_off and not {"", "otlp"}.isdisjoint(exporters) and _first(environment, _ENDPOINTS) is not None


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next(filter(None, (environment.get(name, "").strip() for name in names)), None)
