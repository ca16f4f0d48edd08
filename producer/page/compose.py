"""`/new`: a form made from the model's JSON schema, and a file of requests that is checked before anything is accepted.

A form carries an idempotency key, so that a double click buys once. A file's rows have the keys that `rushes batch`
gives them: the same file submits nothing twice, wherever it is sent from.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from ulid import ULID

from config.webhook_endpoints import LONGEST_URL
from jobs.errors import FieldError, InvalidRequest, JobError, UnknownJob
from jobs.job import Priority, VideoRequest
from jobs.shorten import shorten
from producer.api.create_video import DefaultModels, parse_form
from producer.api.parsing import MOST_VALUES, QUICK_BYTES, parse_apart
from producer.api.pictures import pictures_in
from producer.api.problems import Code, ErrorDetail, Problem
from producer.api.videos import JOB_ID, submit_async
from producer.batch_file import BatchRow, rows_of
from producer.costs import Prices, estimated
from producer.keys import Scope
from producer.models.catalogue import MODELS, schema_of, unfamiliar
from producer.models.texts import read_text
from producer.models.validation import LONGEST_PROMPT
from producer.page.visit import TOKEN, Visit, admit
from producer.queue_terms import QueueTerms
from producer.text import UnreadableText, decoded

MOST_ROWS: Final = 1000
"""Rows of a file on the page; `rushes batch` takes any number."""
MOST_PICTURED: Final = 100
"""Rows with pictures, each of which is checked."""
MOST_SHOWN: Final = 100

_OURS: Final = frozenset({TOKEN, "key", "labels", "from"})
"""Fields of the form that are no part of the request."""
_PICTURES: Final = frozenset({"image_url", "tail_image_url", "last_image_url", "image_urls"})


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter of the model, as the form asks for it."""

    name: str
    kind: str
    """choice, switch, number, picture, text."""
    choices: Sequence[Any]
    default: Any
    help: str
    required: bool
    is_list: bool

    @property
    def sent_as(self) -> str:
        """The name of its form field."""
        return f"{self.name}[]" if self.is_list else self.name


async def show(visit: Visit) -> Response:
    """Show an empty form, or one with the request of a job that is to be used again."""
    query = visit.request.query_params
    values = await run_in_threadpool(_of_job, visit, query.get("from", ""))
    values |= {name: query[name][:LONGEST_PROMPT] for name in _asked_for(visit, values) if name in query}
    return await run_in_threadpool(_form, visit, values)


async def submit(visit: Visit) -> Response:
    """Submit the form's request: once, however often it is sent."""
    if len(visit.text("labels")) > QUICK_BYTES:
        raise Problem(Code.TOO_LARGE, f"Labels may have {QUICK_BYTES} characters; nothing was submitted.")
    values = _values(visit)
    key = visit.text("key") or _new_key()
    try:
        body = await parse_apart(parse_form, list(_fields(visit)), _models(visit))
        answer = await submit_async(visit.parts, visit.caller, body, key)
    except Problem as problem:
        if problem.code is not Code.INVALID_REQUEST:
            raise
        return await run_in_threadpool(_form, visit, values, problem.errors)
    return visit.go(f"jobs/{answer.job_id}")


async def submit_file(visit: Visit) -> Response:
    """Check every row of a file; accept them all once the checked file is sent back."""
    name, text = await run_in_threadpool(_file, visit)
    model = visit.text("model") or visit.parts.settings.api.default_model
    try:
        rows = await parse_apart(_rows, visit, name, text, model)
        await _check_pictures(visit, rows)
    except InvalidRequest as error:
        return await run_in_threadpool(visit.page, "file.html", name=name, errors=error.errors)
    if not visit.text("checked"):
        return await run_in_threadpool(_checked, visit, name, text, model, rows)
    most = visit.parts.settings.api.requests_per_min
    await admit(visit.request, visit.parts, Scope.SUBMIT, cost=min(len(rows), most) - 1)
    return await run_in_threadpool(_accept, visit, name, rows)


def _asked_for(visit: Visit, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the fields that a link to the form may fill in."""
    model = visit.request.query_params.get("model") or values.get("model") or visit.parts.settings.api.default_model
    yield from ("prompt", "model", *QueueTerms.model_fields, *(field.name for field in _schema(model)))


def _form(visit: Visit, values: Mapping[str, Any], errors: Iterable[ErrorDetail] = ()) -> Response:
    model = values.get("model") or visit.parts.settings.api.default_model
    found = {error.field.removeprefix("body."): error.message.removeprefix("Value error, ") for error in errors}
    fields = _schema(model)
    known = {"prompt", "model", "labels", "webhook_url", *QueueTerms.model_fields, *(field.name for field in fields)}
    return visit.page(
        "new.html",
        model=model,
        models=MODELS,
        warning=unfamiliar(model) or "",
        fields=fields,
        price=estimated(Prices.lately(visit.parts.service, visit.tenant), [_asked(model, fields, values)]),
        priorities=list(Priority),
        queue_ttl_s=round(visit.parts.settings.queue.ttl_s),
        values=values,
        errors=found,
        others=[f"{name}: {message}" for name, message in found.items() if name not in known],
        key=_new_key(),
        longest=LONGEST_PROMPT,
        longest_url=LONGEST_URL,
    )


def _asked(model: str, fields: Sequence[Field], values: Mapping[str, Any]) -> VideoRequest:
    """Return the form's request as far as its price depends on it."""
    given = {field.name: values[field.name] for field in fields if values.get(field.name)}
    return VideoRequest(model, None, {name: read_text(model, name, value) for name, value in given.items()})


def _new_key() -> str:
    return f"page-{str(ULID()).lower()}"


def _schema(model: str) -> list[Field]:
    family = MODELS.get(model)
    if family is None:
        return []
    schema = schema_of(family)
    return [
        _field(name, each, required=name in schema["required"])
        for name, each in schema["properties"].items()
        if name != "prompt"
    ]


def _field(name: str, schema: Mapping[str, Any], *, required: bool) -> Field:
    kind = "text"
    if "enum" in schema or "const" in schema:
        kind = "choice"
    elif schema.get("type") == "boolean":
        kind = "switch"
    elif schema.get("type") in {"integer", "number"}:
        kind = "number"
    elif name in _PICTURES:
        kind = "picture"
    is_list = schema.get("type") == "array"
    choices = schema.get("enum") or [value for value in [schema.get("const")] if value is not None]
    return Field(name, kind, choices, schema.get("default"), schema.get("description", ""), required, is_list)


def _fields(visit: Visit) -> Iterator[tuple[str, str | bytes]]:
    """Yield the request's fields as the API's own form has them; labels stand one a line, as name=value."""
    for name, value in visit.form:
        if name not in _OURS and value not in {"", b""}:
            yield name, value.replace("\r\n", "\n") if isinstance(value, str) else value
    for line in visit.text("labels").splitlines():
        label, _, text = line.partition("=")
        if label.strip():
            yield f"metadata[{label.strip()}]", text.strip()


def _values(visit: Visit) -> dict[str, Any]:
    """Return what was typed, to show it again; a browser does not send a file's name back into its form."""
    return {name: value for name, value in visit.form if isinstance(value, str) and name != TOKEN}


def _of_job(visit: Visit, job_id: str) -> dict[str, Any]:
    """Return the form's values for the request of a job of the visitor's, without its pictures."""
    if not JOB_ID.fullmatch(job_id) or not visit.may(Scope.READ):
        return {}
    try:
        _, request = visit.parts.service.get(job_id, tenant=visit.tenant)
    except UnknownJob:
        return {}
    values = {
        name: _typed(value) for name, value in request.parameters.items() if name not in _PICTURES or _is_link(value)
    }
    labels = "\n".join(f"{name}={value}" for name, value in request.metadata.items())
    return {**values, "model": request.model, "prompt": request.prompt or "", "labels": labels}


def _typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _is_link(value: Any) -> bool:
    return isinstance(value, str) and value[:8].lower() == "https://"


def _models(visit: Visit) -> DefaultModels:
    return DefaultModels(visit.parts.settings.api.default_model, visit.parts.settings.api.default_image_model)


def _file(visit: Visit) -> tuple[str, str]:
    """Return the file's name and text: as uploaded, or as the checked form brings them back."""
    if visit.text("checked"):
        return visit.text("name") or "batch", visit.text("text").replace("\r\n", "\n")
    raw = next((value for name, value in visit.form if name == "file" and isinstance(value, bytes)), b"")
    if not raw:
        raise Problem(Code.INVALID_REQUEST, "Choose a file of CSV or JSON lines, one request a row.")
    try:
        text = decoded(raw)
    except UnreadableText as error:
        raise Problem(Code.INVALID_REQUEST, f"The file cannot be read: {error}.") from error
    return visit.text("name").strip() or "batch", text


def _rows(visit: Visit, name: str, text: str, model: str) -> list[BatchRow]:
    is_csv = not text.lstrip().startswith("{")
    if sum(map(text.count, "[{,\n")) > MOST_VALUES:
        message = f"may hold {MOST_VALUES} of the signs [ {{ , and line ends here. `rushes batch` takes any number"
        raise InvalidRequest((FieldError("file", message),))
    validate = visit.parts.service.validate
    rows = rows_of(text, is_csv=is_csv, default_model=model, name=name, validate=validate, most=MOST_ROWS)
    if not rows:
        raise InvalidRequest((FieldError("file", "holds no requests"),))
    return rows


async def _check_pictures(visit: Visit, rows: Sequence[BatchRow]) -> None:
    pictured = [row for row in rows if any(pictures_in(row.request.parameters))]
    if visit.parts.pictures is None:
        return
    if len(pictured) > MOST_PICTURED:
        message = f"may hold {MOST_PICTURED} requests with pictures here; it has {len(pictured)}"
        raise InvalidRequest((FieldError("file", message),))
    errors: list[FieldError] = []
    for row in pictured:
        found = await visit.parts.pictures.check(row.request.parameters, tenant=visit.tenant)
        errors += [FieldError(f"line {row.line}: {error.field}", error.message) for error in found]
    if errors:
        raise InvalidRequest(tuple(errors))


def _checked(visit: Visit, name: str, text: str, model: str, rows: Sequence[BatchRow]) -> Response:
    """Show what a file asks for and what that costs, before anything is accepted."""
    prices = Prices.lately(visit.parts.service, visit.tenant)
    return visit.page(
        "file.html",
        name=name,
        errors=[],
        count=len(rows),
        rows=[(row, shorten(row.request.parameters), prices.estimate(row.request)) for row in rows[:MOST_SHOWN]],
        text=text,
        model=model,
        price=estimated(prices, [row.request for row in rows]),
    )


def _accept(visit: Visit, name: str, rows: Sequence[BatchRow]) -> Response:
    answers = visit.parts.service.submit_many([(row.request, row.terms(visit.tenant)) for row in rows])
    refused = [
        FieldError(f"line {row.line}", f"{answer}")
        for row, answer in zip(rows, answers, strict=True)
        if isinstance(answer, JobError)
    ]
    known = sum(not isinstance(answer, JobError) and answer.replayed for answer in answers)
    return visit.page(
        "file_done.html", name=name, accepted=len(rows) - len(refused) - known, known=known, refused=refused
    )
