"""Webhooks by Standard Webhooks: signed requests to receivers' endpoints, at public addresses only."""

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from http import HTTPStatus
from operator import attrgetter
from typing import Final

import requests
from standardwebhooks import Webhook
from urllib3.exceptions import HTTPError

from config.addresses import is_public
from config.outbound import AddressRefused, PunctualAdapter
from config.settings import LONGEST_VARIATION, WebhooksSettings
from jobs.delivery import Delivered, Delivery, NotDelivered, Outcome
from jobs.job import Job, VideoRequest
from jobs.moves.delivery import RetryTerms
from jobs.outbox import ReceiverTerms
from jobs.payloads import message_id, payload
from producer.client.retry_after import retry_after_s
from worker.receivers.outcome import Receiver

log = logging.getLogger("rushes.webhooks")

EXCERPT_BYTES: Final = 500

CONNECT_S: Final = 5.0
"""A receiver that takes longer to connect would hold a thread; it is tried again."""


TraceOf = Callable[[Job], str | None]
"""Returns the W3C trace context to send with a job's events."""


class WebhookSender:
    """Sends signed requests and reports their outcomes; follows no redirect."""

    def __init__(
        self,
        settings: WebhooksSettings,
        *,
        connections: int,
        public_url: object = None,
        connect_s: float = CONNECT_S,
        trace_of: TraceOf | None = None,
    ) -> None:
        """`trace_of` is sent with a job's events; None: what its request brought, as W3C asks of who adds no span."""
        self.settings = settings
        self.trace_of = trace_of or attrgetter("traceparent")
        self.connect_s = connect_s
        self.public_url = public_url
        permits = _any_address if settings.allow_private else is_public
        self._verify = str(settings.ca_bundle) if settings.ca_bundle else True
        self._adapter = PunctualAdapter(connections=connections, reply_s=settings.timeout_s, permits=permits)

    def send(
        self, url: str, named: str, body: str, secrets: Sequence[str], *, now: datetime, traceparent: str | None = None
    ) -> Outcome:
        """Post the body, signed with each of the secrets."""
        sent = f"POST {_shown(url)} webhook-id: {named} {body}"[:EXCERPT_BYTES]
        if not url.lower().startswith("https://") and not self.settings.allow_private:
            return NotDelivered("plain http is not allowed (RUSHES_WEBHOOKS__ALLOW_PRIVATE)", sent=sent)
        try:
            response = self._adapter.ask(
                "POST",
                url,
                data=body.encode(),
                headers=signed(named, body, secrets, now=now) | ({"traceparent": traceparent} if traceparent else {}),
                timeout=(self.connect_s, self.settings.timeout_s),
                verify=self._verify,
            )
            with closing(response):
                return _outcome_of(response, sent, now)
        except AddressRefused:
            return NotDelivered("its address is not a public one (RUSHES_WEBHOOKS__ALLOW_PRIVATE)", sent=sent)
        except (requests.RequestException, HTTPError, ValueError) as error:  # the last: malformed addresses
            return NotDelivered(f"no answer ({type(error).__name__})", sent=sent)
        except Exception as error:
            log.exception("the answer of %s could not be read", _shown(url))
            return NotDelivered(f"its answer could not be read ({type(error).__name__})", sent=sent)


class WebhookReceiver(Receiver):
    """One endpoint, or the server behind webhook addresses of requests (`url` is None)."""

    def __init__(self, sender: WebhookSender, url: str | None, secrets: Sequence[str]) -> None:
        self._sender = sender
        self._url = url
        self._secrets = secrets
        settings = sender.settings
        longest_s = sender.connect_s + 2 * settings.timeout_s + 15
        self.terms = ReceiverTerms(width=settings.width, longest_s=longest_s)
        disable_after_s = None if url is None else settings.disable_after_s
        self.retries = RetryTerms(settings.retry_s, LONGEST_VARIATION, disable_after_s)

    def deliver(self, delivery: Delivery, job: Job, request: VideoRequest) -> Outcome:
        """Send the event's thin payload; its `webhook-id` is the same at each try."""
        url = self._url or request.webhook_url
        if url is None:
            return NotDelivered("the request names no address", never=True)
        if not self._secrets:
            return NotDelivered("there is no key to sign with (RUSHES_WEBHOOKS__KEYS)")
        data = payload(delivery.event, job, request, at=delivery.at, public_url=self._sender.public_url)
        body = json.dumps(data, separators=(",", ":"))
        named = message_id(delivery.job_id, delivery.event, delivery.event_turn)
        trace = self._sender.trace_of(job)
        return self._sender.send(url, named, body, self._secrets, now=datetime.now(UTC), traceparent=trace)


def signed(named: str, body: str, secrets: Sequence[str], *, now: datetime) -> dict[str, str]:
    """Return the headers of a request by Standard Webhooks, with a signature for each valid secret."""
    signatures = [Webhook(secret).sign(named, now, body) for secret in secrets]
    return {
        "content-type": "application/json",
        "user-agent": "Rushes-Webhooks",
        "webhook-id": named,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _outcome_of(response: requests.Response, sent: str, now: datetime) -> Outcome:
    """Read a response's outcome: 2xx is delivered, a redirect is a failure, 410 refuses further deliveries."""
    status, answer = response.status_code, _excerpt(response)
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Delivered(f"answered {status}", status=status, sent=sent, answer=answer)
    redirect = " (redirects are not followed)" if status < HTTPStatus.BAD_REQUEST else ""
    return NotDelivered(
        f"answered {status}{redirect}",
        status=status,
        sent=sent,
        answer=answer,
        retry_after_s=retry_after_s(response.headers, now=now.timestamp()),
        unwanted=status == HTTPStatus.GONE,
    )


def _excerpt(response: requests.Response) -> str | None:
    """Read the beginning of the answer; one that breaks off or trickles does not change its status."""
    try:
        return (response.raw.read1(EXCERPT_BYTES, decode_content=True) or b"").decode(errors="replace")
    except Exception:  # noqa: BLE001 (a decoder may raise anything)
        return None


def _any_address(_address: str) -> bool:
    """Permit every address."""
    return True


def _shown(url: str) -> str:
    """Return an address without its query, which may contain a token."""
    return url.partition("?")[0].partition("#")[0]
