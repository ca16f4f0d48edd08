"""A bucket behind a real S3 server: moto's, as a process."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import requests

from ops.stack.recipe import free_port
from tests.stage import child, eventually


@dataclass(frozen=True)
class Bucket:
    """A bucket, and the variables that a program needs to reach it."""

    endpoint: str
    name: str

    @property
    def url(self) -> str:
        """A URL in the bucket."""
        return f"s3://{self.name}/videos"

    @property
    def environment(self) -> dict[str, str]:
        """The usual variables of S3 clients."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_REGION": "us-east-1",
        }

    @classmethod
    @contextmanager
    def started(cls, folder: Path) -> Iterator[Self]:
        """Start the server, and make a bucket."""
        port = free_port()
        bucket = cls(f"http://127.0.0.1:{port}", "archive")
        with child([sys.executable, "-m", "moto.server", "-p", str(port)], folder / "s3.log"):
            eventually(bucket._answers, what="the object store's start")
            yield bucket

    def empty(self) -> None:
        """Delete everything and make the bucket again."""
        requests.post(f"{self.endpoint}/moto-api/reset", timeout=10).raise_for_status()
        self.make(self.name)

    def make(self, name: str) -> None:
        """Make another bucket."""
        requests.put(f"{self.endpoint}/{name}", timeout=10).raise_for_status()

    def unfinished_uploads(self) -> int:
        """Count unfinished uploads, whose parts cost money."""
        return requests.get(f"{self.endpoint}/{self.name}?uploads", timeout=10).text.count("<Upload>")

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.endpoint}/moto-api/", timeout=1).ok
        except requests.RequestException:
            return False
