"""The upstream's client: one function buys, one reads the log; both return facts and never raise for the network."""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import requests
from urllib3.exceptions import HTTPError

from config.outbound import PunctualAdapter
from config.sending import sending_s
from config.settings import CONNECT_S, UpstreamSettings
from jobs.facts import NoResult, NotBought, Receipt, Unknown
from jobs.job import Family, Hold, VideoRequest
from worker import metrics
from worker.upstream.access import MOST_REPLY_BYTES, UpstreamAccess
from worker.upstream.connections import ConnectionWitness
from worker.upstream.wire import (
    BILLING_PATH,
    LOG_PAGE_LENGTH,
    LOG_PATH,
    LOG_PERIOD,
    PATHS,
    REQUEST_ID_HEADER,
    LogPage,
    read_log_page,
    read_receipt,
)

log = logging.getLogger("rushes.upstream")

OLDEST_INTENT_S: Final = 10.0
"""Shorter than the time after which a silent worker counts as dead."""

CHUNK_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply; its body is b"" if it broke off, trickled or was too long."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Upstream:
    """Buys from the upstream and reads its log; has time-outs, follows no redirect, and never leaks the key."""

    def __init__(
        self,
        access: UpstreamAccess,
        settings: UpstreamSettings,
        *,
        threads: int = 16,
        connect_s: float = CONNECT_S,
        reply_bytes: int = MOST_REPLY_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._access = access
        self._settings = settings
        self._time_outs = min(connect_s, settings.connect_timeout_s), settings.read_timeout_s
        self._reply_bytes = reply_bytes
        self._clock = clock
        self._reading = PunctualAdapter(connections=threads, reply_s=settings.total_timeout_s, proxies=access.proxies)

    @metrics.request("submit")
    def submit(self, request: VideoRequest, family: Family, request_id: str, *, intent_age_s: float = 0.0) -> Receipt:
        """Buy one generation. This is the only POST of Rushes that costs money, and it is never repeated here.

        An old intent (the process was frozen) buys nothing: other workers may have put it in doubt.
        """
        if intent_age_s > OLDEST_INTENT_S:
            return NotBought(Hold.UNREACHABLE, f"this worker was held up for {intent_age_s:.0f} s before it could buy")
        witness = ConnectionWitness(reply_s=self._settings.total_timeout_s, proxies=self._access.proxies)
        with closing(witness):
            try:
                reply = self._exchange(witness, "POST", PATHS[family], json=request.body(), request_id=request_id)
            except Exception as error:  # noqa: BLE001 (on any error the request may have been sent)
                why = _why(error)
                if witness.connected:
                    return Unknown(f"the reply was lost after the request was sent ({why})")
                return NotBought(Hold.UNREACHABLE, f"no connection to the upstream ({why})")
        return self._access.bounded(read_receipt(reply.status, reply.headers, reply.body))

    @metrics.request("log")
    def log_page(self, model: str, offset: int) -> LogPage | NoResult:
        """Read one page of the upstream's request log for a model, newest first."""
        query = {"period": LOG_PERIOD, "model": model, "limit": str(LOG_PAGE_LENGTH), "offset": str(offset)}
        try:
            reply = self._exchange(self._reading, "GET", LOG_PATH, params=query)
        except Exception as error:  # noqa: BLE001 (any error means no page)
            return NoResult(Hold.UNREACHABLE, f"no answer from the upstream ({_why(error)})")
        return read_log_page(reply.status, reply.headers, reply.body)

    def billing(self) -> Reply | NoResult:
        """Request the balance, by the way that purchases go; it costs nothing."""
        try:
            return self._exchange(self._reading, "GET", BILLING_PATH)
        except Exception as error:  # noqa: BLE001 (as above)
            return NoResult(Hold.UNREACHABLE, _why(error))

    def close(self) -> None:
        """Close the pooled connections."""
        self._reading.close()

    def _exchange(
        self,
        adapter: PunctualAdapter,
        method: str,
        path: str,
        *,
        json: object = None,
        params: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> Reply:
        started, choice, access = self._clock(), self._settings, self._access
        named = {REQUEST_ID_HEADER: request_id} if request_id else {}
        response = adapter.ask(
            method,
            access.base_url + path,
            json=json,
            params=params,
            headers=access.headers | named,
            timeout=self._time_outs,
            verify=access.ca_file,
        )
        with closing(response):
            sent_s = sending_s(len(response.request.body or b""))
            body = self._body(response, until=started + sent_s + choice.total_timeout_s)
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Reply(response.status_code, headers, self._access.redacted(body))

    def _body(self, response: requests.Response, *, until: float) -> bytes:
        """Read the whole body, or b"": half a reply proves no more than its status and headers."""
        read = bytearray()
        try:
            while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
                read += chunk
                if len(read) > self._reply_bytes or self._clock() > until:
                    return b""
        except Exception as error:  # noqa: BLE001 (a decoder may raise anything; status and headers still count)
            _why(error)
            return b""
        return bytes(read)


def _why(error: Exception) -> str:
    """Return an error's name; log its traceback unless networks or their libraries are known to raise it."""
    if not isinstance(error, requests.RequestException | HTTPError | OSError):
        log.error("a reply of the upstream could not be read", exc_info=error)
    return type(error).__name__
