"""`rushes submit`: submits one prompt from the command line, a file or standard input."""

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.job import LONGEST_WAIT_S, Priority, Terms, VideoRequest
from producer.cli.arguments import argument_text, pairs
from producer.cli.exits import Exit, explained, leave, say
from producer.cli.results import copy_video, report
from producer.cli.session import Session, emit_json
from producer.cli.visible import visible
from producer.costs import Prices, estimated
from producer.models.catalogue import unfamiliar
from producer.queue_terms import seconds_until
from producer.service import Submission
from producer.text import UnreadableText, decoded

DEFAULT_MODEL = "google/veo3"
DEFAULT_IMAGE_MODEL = "google/veo-3.0-i2v"


def submit(
    prompt: Annotated[
        str | None, typer.Argument(help="The prompt; '-' reads standard input.", show_default=False)
    ] = None,
    *,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Read the prompt from a file.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help=f"The upstream's model. Default: {DEFAULT_MODEL}, or with a picture {DEFAULT_IMAGE_MODEL}.",
        ),
    ] = None,
    aspect_ratio: Annotated[str | None, typer.Option(help="16:9 or 9:16.")] = None,
    resolution: Annotated[str | None, typer.Option(help="720P or 1080P.")] = None,
    duration: Annotated[int | None, typer.Option(help="Seconds: 4, 6 or 8.")] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What the video must not show.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives similar videos.")] = None,
    enhance_prompt: Annotated[bool | None, typer.Option(help="Let the upstream rewrite the prompt.")] = None,
    generate_audio: Annotated[bool | None, typer.Option(help="With sound.")] = None,
    image_url: Annotated[str | None, typer.Option(help="First frame, for image-to-video models.")] = None,
    image: Annotated[
        Path | None,
        typer.Option("--image", "-i", help="First frame, from a PNG, JPEG, GIF or WebP file.", show_default=False),
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", help="Any other parameter, name=value (value as JSON or text).")
    ] = None,
    metadata: Annotated[list[str] | None, typer.Option("--metadata", help="A label of your own, name=value.")] = None,
    webhook_url: Annotated[
        str | None, typer.Option(help="Send the job's end here, signed; `rushes webhooks secret webhook_url`.")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key and request never make a second job.")
    ] = None,
    dedupe: Annotated[
        bool,
        typer.Option("--dedupe", help="Use the stored video of an identical request with this seed, if any."),
    ] = False,
    deadline: Annotated[float | None, typer.Option(min=1, help="Seconds the generation may take.")] = None,
    priority: Annotated[Priority, typer.Option(help="Its place among its tenant's queued jobs.")] = Priority.NORMAL,
    not_before: Annotated[
        str | None, typer.Option(help="When it may be bought: seconds from now, or a time like 2026-12-24T18:00:00Z.")
    ] = None,
    queue_ttl: Annotated[
        float | None, typer.Option(min=1, max=LONGEST_WAIT_S, help="Seconds that it may wait for its purchase.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the end, showing progress.")] = False,
    timeout: Annotated[float | None, typer.Option(min=0, help="Wait, but this many seconds at most.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Wait, then copy the video here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Submit a prompt; it becomes a stored video."""
    with explained():
        parameters = {
            "aspect_ratio": aspect_ratio,
            "resolution": resolution,
            "duration": duration,
            "negative_prompt": negative_prompt,
            "seed": seed,
            "enhance_prompt": enhance_prompt,
            "generate_audio": generate_audio,
            "image_url": _picture(image_url, image),
        }
        given = {name: value for name, value in parameters.items() if value is not None} | pairs(
            param, "--param", _value
        )
        chosen = model or (DEFAULT_IMAGE_MODEL if "image_url" in given else DEFAULT_MODEL)
        request = VideoRequest(chosen, _prompt(prompt, file), given, pairs(metadata, "--metadata", str), webhook_url)
        warn_unfamiliar(chosen)
        session = Session()
        terms = Terms(
            idempotency_key=idempotency_key,
            deadline_s=deadline,
            due_in_s=_due_in_s(not_before),
            queue_ttl_s=queue_ttl,
            priority=priority,
            reuse=dedupe,
        )
        is_person = sys.stderr.isatty() and not as_json
        cost = estimated(Prices.lately(session.service), [request]) if is_person else ""
        answer = session.service.submit(request, terms)
        if is_person or answer.reused:
            session.progress.print(_outcome(answer, cost), style="dim")
        if not (wait or output or timeout is not None):
            _acknowledge(session, answer, request, as_json=as_json)
            return
        job = report(session, answer.job_id, timeout_s=timeout, as_json=as_json)
        if output:
            copy_video(session, job, request, output)


def _due_in_s(not_before: str | None) -> float:
    try:
        return seconds_until(not_before)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--not-before") from None


def _acknowledge(session: Session, answer: Submission, request: VideoRequest, *, as_json: bool) -> None:
    job_id = answer.job_id
    if as_json:
        view = session.view(*((answer.job, request) if answer.job else session.service.get(job_id)))
        emit_json({**view, "reused": answer.reused, "replayed": answer.replayed})
        return
    typer.echo(job_id)
    if sys.stderr.isatty() and not answer.reused:
        session.progress.print(f"`rushes wait {job_id}` waits for it, `rushes get {job_id}` shows it.", style="dim")


def _outcome(answer: Submission, cost: str) -> str:
    """Say what became of the request, and what it will cost."""
    if answer.reused:
        return "An identical request's video is stored: nothing was bought."
    return "An earlier request with this key made the job." if answer.replayed else f"Accepted. {cost}"


def warn_unfamiliar(*models: str) -> None:
    """Warn on standard error, once each, of models that may be typos."""
    logging.getLogger("rushes.producer").setLevel(logging.ERROR)  # the service would repeat it for every request
    for model in dict.fromkeys(models):
        if warning := unfamiliar(model):
            say(visible(f"Warning: {warning}"))


def _picture(url: str | None, file: Path | None) -> str | None:
    """Return the picture's URL, a data URL for a file."""
    if file is None:
        return url
    if url is not None:
        leave(Exit.USAGE, "Give the picture by --image or by --image-url, not both.")
    from producer.client.pictures import url_of  # noqa: PLC0415 (the HTTP client comes with it)

    try:
        return url_of(file)
    except ValueError as error:
        leave(Exit.INVALID, f"{file} {error}")
    except OSError as error:
        leave(Exit.USAGE, f"The picture cannot be read from {file}: {error}")


def _prompt(argument: str | None, file: Path | None) -> str:
    if file is not None:
        if argument is not None:
            leave(Exit.USAGE, "Give the prompt as an argument or by --file, not both.")
        return _read(file.read_bytes, str(file))
    if argument == "-" or (argument is None and not sys.stdin.isatty()):
        return _read(sys.stdin.buffer.read, "standard input")
    if argument is None:
        leave(Exit.USAGE, "There is no prompt: give it as an argument, by --file PATH, or on standard input.")
    return argument_text(argument)


def _read(read: Callable[[], bytes], source: str) -> str:
    try:
        return decoded(read()).strip()
    except (OSError, UnreadableText) as error:
        leave(Exit.USAGE, f"The prompt cannot be read from {source}: {error}.")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
