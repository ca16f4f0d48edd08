"""A file on the page costs little, whatever it holds: two threads parse for everybody."""

import re
from http import HTTPStatus
from typing import Final

import pytest
import requests

from producer.api.parsing import QUICK_BYTES
from tests.api.conftest import PATIENCE_S, Api

FROM_HERE: Final = {"sec-fetch-site": "same-origin"}
QUICKLY_S: Final = 10.0
SHORT_REPLY: Final = 200_000
FILES: Final = {
    "lines that are no JSON": b"{\n" * 2_000_000,
    "empty objects": b"{}\n" * 2_000_000,
    "empty lines": b"{\n" + b"\n" * 7_000_000,
    "rows of one cell": b"prompt\n" + b"a\n" * 3_000_000,
    "rows of empty cells": b"prompt,model\n" + b",\n" * 3_000_000,
    "columns": b"prompt," * 500_000 + b"\n" + b"a," * 500_000,
    "columns, and as many rows as may be": b"prompt," + b",".join(b"%d" % n for n in range(90_000)) + b"\na" * 1000,
    "quotation marks": b"prompt\n" + b'"' * 7_000_000,
    "one long cell": b'prompt\n"' + b"a" * 7_000_000 + b'"',
    "values": b'{"prompt":"a","x":[' + b"1," * 3_000_000 + b"1]}\n",
    "depth": b'{"a":' + b"[" * 90_000 + b"]" * 90_000 + b"}\n",
}  # fmt: skip


def posted(api: Api, path: str, file: bytes = b"", **fields: str) -> requests.Response:
    """Send a file, or other fields, as the page's form does."""
    page = requests.get(f"{api.url}/new", headers=FROM_HERE, timeout=PATIENCE_S)
    token = re.search('name="token" value="([^"]+)"', page.text)
    assert token is not None
    files = {"file": ("batch.csv", file)}
    return requests.post(
        f"{api.url}{path}", data={"token": token[1], **fields}, files=files, headers=FROM_HERE, timeout=PATIENCE_S
    )


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_a_file_is_refused_before_it_costs_much(api: Api, file: bytes) -> None:
    """Millions of rows were each validated, and named in an error, before their number was looked at."""
    reply = posted(api, "/new/file", file)
    refusals = {HTTPStatus.OK, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.REQUEST_ENTITY_TOO_LARGE}
    assert reply.status_code in refusals
    assert "all valid" not in reply.text
    assert reply.elapsed.total_seconds() < QUICKLY_S
    assert len(reply.content) < SHORT_REPLY


def test_labels_are_bounded_before_they_are_read(api: Api) -> None:
    """They become fields on the event loop, one a line."""
    reply = posted(api, "/new", prompt="a boat", labels="a=b\n" * 1_500_000)
    assert reply.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    assert reply.elapsed.total_seconds() < QUICKLY_S


def test_a_stranger_who_signs_in_sends_little(api: Api) -> None:
    """Its key is in the form, so that the body is read before anything is known of it."""
    reply = posted(api, "/signin", b"a" * QUICK_BYTES)
    assert reply.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
