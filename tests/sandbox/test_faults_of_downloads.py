"""Faults of downloads."""

import pytest
import requests

from tests.sandbox.harness import Sandbox


@pytest.mark.parametrize("kind", ["truncated", "reset"])
def test_a_body_can_end_before_its_length(sandbox: Sandbox, kind: str) -> None:
    """Content-Length announces the whole file, so a client must count bytes; the next try gets it."""
    url = sandbox.video_url(f"[sandbox: cdn={kind} times=1]")
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        sandbox.download(url)
    assert sandbox.download(url).status_code == 200


@pytest.mark.parametrize(
    ("kind", "status"),
    [("expired", 403), ("403", 403), ("404", 404), ("429", 429), ("500", 500), ("503", 503), ("524", 524)],
)
def test_a_file_can_be_refused(sandbox: Sandbox, kind: str, status: int) -> None:
    """The next try gets it."""
    url = sandbox.video_url(f"[sandbox: cdn={kind} times=1]")
    assert [sandbox.download(url).status_code for _ in range(2)] == [status, 200]


def test_the_body_need_not_be_a_video(sandbox: Sandbox) -> None:
    """It may be a page, garbage, empty, or half the file with a matching length."""
    url = sandbox.video_url("[sandbox: cdn=html times=1 cdn=garbage times=1 cdn=empty times=1 cdn=malformed times=1]")
    page, garbage, empty, half = (sandbox.download(url) for _ in range(4))
    assert page.headers["content-type"].startswith("text/html")
    assert garbage.headers["content-type"] == "video/mp4"
    assert b"ftyp" not in garbage.content[:16]
    assert empty.content == b""
    assert len(half.content) == len(sandbox.download(url).content) // 2


def test_a_slow_download_comes_in_pieces(sandbox: Sandbox) -> None:
    """Every piece comes within the read time-out."""
    url = sandbox.video_url("[sandbox: cdn=slow seconds=0.5 times=1]")
    slow = sandbox.download(url, timeout_s=0.4)
    assert slow.content == sandbox.download(url).content


def test_hung_and_dropped_downloads(sandbox: Sandbox) -> None:
    """The first hangs, the second is reset, the third gets the file."""
    url = sandbox.video_url("[sandbox: cdn=hang seconds=30 times=1 cdn=drop times=1]")
    with pytest.raises(requests.ReadTimeout):
        sandbox.download(url, timeout_s=0.3)
    with pytest.raises(requests.ConnectionError):
        sandbox.download(url)
    assert sandbox.download(url).status_code == 200


def test_a_body_can_be_far_too_large(sandbox: Sandbox) -> None:
    """The default is 1 GB without a length, so a client needs a limit; disconnecting early does no harm."""
    url = sandbox.video_url("[sandbox: cdn=huge times=1 cdn=huge bytes=3000000 times=1]")
    with sandbox.session.get(url, stream=True, timeout=5) as endless:
        assert "content-length" not in endless.headers
        received = 0
        for chunk in endless.iter_content(65536):
            received += len(chunk)
            if received > 10_000_000:
                break
    assert received > 10_000_000
    assert len(sandbox.download(url).content) == 3_000_000
    assert sandbox.get("/sandbox/health").json()["status"] == "ok"
