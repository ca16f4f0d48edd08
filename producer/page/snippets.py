"""A job's request as somebody would repeat it: by curl, from Python, on the command line."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from jobs.job import VideoRequest
from jobs.shorten import shorten


def snippets(request: VideoRequest, base_url: str, *, needs_key: bool) -> Mapping[str, str]:
    """Return the commands by the name of their tool; a picture stands in them in its short form."""
    parameters = shorten(request.parameters)
    return {
        "curl": _curl(request, parameters, base_url, needs_key=needs_key),
        "Python": _python(request, parameters, base_url, needs_key=needs_key),
        "Command line": _command(request, parameters),
    }


def _curl(request: VideoRequest, parameters: Mapping[str, Any], base_url: str, *, needs_key: bool) -> str:
    body = {"model": request.model, "prompt": request.prompt, **parameters}
    body |= {"metadata": dict(request.metadata)} if request.metadata else {}
    lines = [f"curl -s {shlex.quote(base_url + '/v1/videos')} -H 'Content-Type: application/json'"]
    lines += ['-H "Authorization: Bearer $RUSHES_KEY"'] if needs_key else []
    return " \\\n  ".join([*lines, f"-d {shlex.quote(json.dumps(body, ensure_ascii=False))}"])


def _python(request: VideoRequest, parameters: Mapping[str, Any], base_url: str, *, needs_key: bool) -> str:
    named = {"model": request.model, **{name: value for name, value in parameters.items() if name.isidentifier()}}
    named |= {"metadata": dict(request.metadata)} if request.metadata else {}
    given = "".join(f"    {name}={value!r},\n" for name, value in named.items())
    key = ', api_key=os.environ["RUSHES_KEY"]' if needs_key else ""
    return (
        f"{'import os' + chr(10) * 2 if needs_key else ''}from producer.client import Rushes\n\n"
        f"rushes = Rushes({base_url!r}{key})\n"
        f"job = rushes.submit(\n    {request.prompt!r},\n{given})\n"
        'job.wait(timeout_s=900)\njob.download("video.mp4")'
    )


def _command(request: VideoRequest, parameters: Mapping[str, Any]) -> str:
    words = ["rushes", "submit", "--wait", request.prompt or "", "--model", request.model]
    for name, value in parameters.items():
        words += ["-p", f"{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"]
    for name, label in request.metadata.items():
        words += ["--metadata", f"{name}={label}"]
    return shlex.join(words)
