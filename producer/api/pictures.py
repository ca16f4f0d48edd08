"""Checks the pictures of a request by their first bytes, and never fetches from addresses that callers may not reach.

The upstream fetches a picture's URL; we check its beginning before the request is accepted, over a connection to the
very address that was judged.
"""

import base64
import binascii
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from http import HTTPStatus
from itertools import islice
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError, NameResolutionError

from config.addresses import is_public
from config.outbound import AddressRefused, Permits, PunctualAdapter, location_of
from jobs.errors import FieldError
from producer.client.pictures import KINDS, SNIFFED_BYTES, as_data_url, kind_of
from producer.client.proxies import Proxies

MOST_REDIRECTS: Final = 3
MOST_TOLD: Final = 4
"""Pictures that cannot be taken, until no more are checked: each may take its time."""
MOST_PICTURES: Final = 16
"""Pictures of one request; the known models take three."""

_PICTURES: Final = ("image_url", "tail_image_url", "last_image_url", "image_urls")
_HEADERS: Final = {"accept": "image/*", "accept-encoding": "identity", "user-agent": "rushes"}


class _Unfit(Exception):
    """The picture cannot be taken; the message says why."""


def read_file(name: str, data: bytes) -> str:
    """An uploaded picture as the upstream takes it.

    Raises:
        ValueError: no file is expected there, or it is no picture.
    """
    if name.partition("[")[0] not in {"input_reference", *_PICTURES}:
        raise ValueError(f"no file is expected here; give it as input_reference, or as one of {', '.join(_PICTURES)}")
    return as_data_url(data)


def retyped(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, each picture in a data URL under the media type of its bytes, which the upstream goes by."""
    return {name: _retyped(value) if name in _PICTURES else value for name, value in parameters.items()}


def _retyped(value: Any) -> Any:
    if isinstance(value, list):
        return [_retyped(each) for each in value]
    if not isinstance(value, str) or value[:5].lower() != "data:":
        return value
    with suppress(_Unfit):
        kind, begin = kind_of(_decoded(value)), value.rfind(",") + 1
        if kind and value[:begin] != (head := f"data:{kind};base64,"):
            return head + value[begin:]
    return value


def pictures_in(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each picture of a request, with the name of its field."""
    for name in _PICTURES:
        given = parameters.get(name)
        for value in given if isinstance(given, list) else [given]:
            if isinstance(value, str):
                yield name, value


def is_url(picture: str) -> bool:
    """Whether a picture must be fetched; any other stands in the request itself."""
    return picture[:8].lower() == "https://"


class PictureCheck:
    """Checks the beginning of a request's pictures, wherever they are, for `within_s` seconds in all."""

    def __init__(
        self,
        most_bytes: int,
        *,
        within_s: float = 10.0,
        permits: Permits = is_public,
        ca_bundle: str | None = None,
    ) -> None:
        """Use `permits` to judge each address before it is spoken to; one that it refuses refuses its name."""
        self._within_s = within_s
        self._most_bytes = most_bytes
        self._verify = ca_bundle or True
        self._part_s = within_s / 2  # to connect, and to be answered
        direct = Proxies({})
        self._adapter = PunctualAdapter(
            connections=8, reply_s=self._part_s, permits=permits, strict=True, proxies=direct
        )

    def check(self, parameters: Mapping[str, Any]) -> list[FieldError]:
        """Name each picture that is none, too large, not on the public internet, or not there in time."""
        pictures = list(islice(pictures_in(parameters), MOST_PICTURES + 1))
        if len(pictures) > MOST_PICTURES:
            return [FieldError(pictures[-1][0], f"may not take the request beyond {MOST_PICTURES} pictures in all")]
        until = time.monotonic() + self._within_s
        reasons = ((name, self._why(picture, until)) for name, picture in pictures)
        return list(islice((FieldError(name, why) for name, why in reasons if why), MOST_TOLD))

    def _why(self, picture: str, until: float) -> str | None:
        """Why a picture cannot be taken."""
        try:
            beginning = self._seen(picture, until) if is_url(picture) else _decoded(picture)
        except _Unfit as unfit:
            return str(unfit)
        return None if kind_of(beginning) else f"must lead to a picture: {KINDS}, by its content"

    def _seen(self, url: str, until: float) -> bytes:
        """The first bytes at the end of the redirects; each hop is judged like the first."""
        for _ in range(MOST_REDIRECTS + 1):
            try:
                with closing(self._ask(_checked(url), until)) as response:
                    if not response.is_redirect:
                        return self._beginning(response)
                    url = urljoin(url, location_of(response))
            except AddressRefused as error:
                raise _Unfit("is not on the public internet") from error
            except (requests.RequestException, HTTPError, OSError, ValueError) as error:
                raise _Unfit(_why_not(error)) from error
        raise _Unfit(f"redirects more than {MOST_REDIRECTS} times")

    def _ask(self, url: str, until: float) -> requests.Response:
        left = until - time.monotonic()
        if left <= 0:
            raise _Unfit(f"could not be checked within {self._within_s:g} s, with the request's other pictures")
        part_s = min(self._part_s, left)
        timeouts = (part_s, part_s)
        return self._adapter.ask("GET", url, headers=_HEADERS, timeout=timeouts, verify=self._verify)

    def _beginning(self, response: requests.Response) -> bytes:
        if response.status_code not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
            raise _Unfit(f"cannot be fetched (its server answers {response.status_code})")
        length = response.raw.length_remaining
        if length is not None and length > self._most_bytes:
            raise _Unfit(f"may have {self._most_bytes} bytes; it has {length}")
        beginning: bytes = response.raw.read(SNIFFED_BYTES, decode_content=False)
        return beginning


def _why_not(error: Exception) -> str:
    """Why a picture cannot be fetched."""
    if isinstance(getattr(next(iter(error.args), None), "reason", None), NameResolutionError):
        return "its host is not known"
    return f"cannot be fetched ({type(error).__name__})"


def _checked(url: str) -> str:
    """A URL in ASCII: its name by IDNA, other letters percent-encoded, as a browser would ask."""
    request = requests.PreparedRequest()
    try:
        request.prepare_url(url, None)
        place = urlsplit(request.url or "")
        _ = place.port  # judged when it is read
    except ValueError as error:  # requests' InvalidURL is one
        raise _Unfit("is no URL") from error
    if place.scheme.lower() != "https" or not place.hostname or place.username:
        raise _Unfit("must be, and stay, an https URL without a user")
    return place.geturl()


def _decoded(picture: str) -> bytes:
    """The first bytes of a picture in base64, with or without the head of a data URL."""
    begin = picture.rfind(",") + 1 if picture[:5].lower() == "data:" else 0
    try:
        return base64.b64decode("".join(picture[begin : begin + 64].split())[:24], validate=True)
    except (binascii.Error, ValueError) as error:
        raise _Unfit("must be an https URL, or a picture in base64") from error
