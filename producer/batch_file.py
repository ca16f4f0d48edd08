"""Batch files: JSON lines or CSV, one request a row, each with a key so that it is bought only once."""

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from jobs.errors import FieldError, InvalidRequest
from jobs.job import Terms, VideoRequest
from jobs.row import request_text
from producer.models.texts import read_text
from producer.queue_terms import QueueTerms, seconds_until
from producer.text import decoded

_TEXTS: Final = frozenset({"model", "prompt", "key", "webhook_url", "metadata", "parameters"})
"""Columns that are not parameters of a model."""

_QUEUE: Final = frozenset(QueueTerms.model_fields)
KEY_LIFE_S: Final = 30 * 86_400.0
"""The same file submits nothing twice for so long."""

_LABEL: Final = "metadata."
MOST_COLUMNS: Final = 256
"""Of a CSV file: each costs time in every row, also where its cell is empty."""

_LARGEST_CELL: Final = 64 * 1024 * 1024  # an image in base64 stands in one cell; csv's own limit is 128 KiB


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One request of a file, with its line and its idempotency key."""

    line: int
    request: VideoRequest
    key: str
    queue: QueueTerms

    def terms(self, tenant: str | None = None) -> Terms:
        """Return the terms on which it is submitted."""
        return Terms(
            tenant=tenant,
            idempotency_key=self.key,
            idempotency_life_s=KEY_LIFE_S,
            priority=self.queue.priority,
            due_in_s=seconds_until(self.queue.not_before),
            queue_ttl_s=self.queue.queue_ttl_s,
        )


def read_batch(
    path: Path, *, default_model: str, name: str, validate: Callable[[VideoRequest], None] = lambda _: None
) -> list[BatchRow]:
    """Read every row of the file, as `rows_of` does.

    Raises:
        InvalidRequest: naming each line that is refused.
        OSError: the file cannot be read.
        UnreadableText: the file is not Unicode.
    """
    text = decoded(path.read_bytes())
    is_csv = path.suffix.lower() == ".csv"
    return rows_of(text, is_csv=is_csv, default_model=default_model, name=name, validate=validate)


def rows_of(
    text: str,
    *,
    is_csv: bool,
    default_model: str,
    name: str,
    validate: Callable[[VideoRequest], None] = lambda _: None,
    most: int | None = None,
) -> list[BatchRow]:
    """Read every row of a file's text, or raise an error that names every invalid one.

    A row's key is its own `key`, or else derives from the batch's name and the row's content (equal rows are counted),
    so that the same file, also one that grew or was sorted, submits nothing twice.

    Raises:
        InvalidRequest: naming each line that cannot be read, or that `validate` refuses with an InvalidRequest; or the
            file has more than `most` rows, and the others were not read.
    """
    raw = _csv_rows(text, default_model) if is_csv else _json_rows(text)
    rows: list[BatchRow] = []
    errors: list[FieldError] = []
    seen: Counter[str] = Counter()
    by_key: dict[str, BatchRow] = {}
    for number, (line, fields) in enumerate(raw):
        if number == most:
            message = f"may hold {most} requests here. `rushes batch` takes any number"
            raise InvalidRequest((FieldError("file", message),))
        if isinstance(fields, str):
            errors.append(FieldError(f"line {line}", fields))
            continue
        invalid = list(_wrong_types(fields))
        if invalid:
            errors += [FieldError(f"line {line}: {e.field}", e.message) for e in invalid]
            continue
        own_key = fields.pop("key", None)
        try:
            queue = QueueTerms.model_validate({name: fields.pop(name) for name in _QUEUE if name in fields})
        except ValidationError as error:
            errors += [
                FieldError(f"line {line}: {e['loc'][0]}", e["msg"].removeprefix("Value error, "))
                for e in error.errors()
            ]
            continue
        request = _request(fields, default_model)
        try:
            validate(request)
        except InvalidRequest as error:
            errors += [FieldError(f"line {line}: {e.field}", e.message) for e in error.errors]
            continue
        content = request_text(request)
        seen[content] += 1
        derived = hashlib.sha256(f"{content}#{seen[content]}".encode()).hexdigest()[:40]
        row = BatchRow(line, request, f"batch:{name}:{own_key or derived}", queue)
        first = by_key.setdefault(row.key, row)
        if first.request != request:
            errors.append(FieldError(f"line {line}: key", f"is the key of another request, on line {first.line}"))
        rows.append(row)
    if errors:
        raise InvalidRequest(tuple(errors))
    return rows


def _json_rows(text: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    for line, content in enumerate(text.split("\n"), start=1):  # splitlines() would cut at U+2028, which JSON allows
        if not content.strip():
            continue
        try:
            value = json.loads(content)
        except json.JSONDecodeError as error:  # its own message names a line 1, which is not the file's
            yield line, f"is not JSON: {error.msg} at character {error.pos + 1}"
            continue
        except (ValueError, RecursionError) as error:
            yield line, f"is not JSON that can be read: {error}"
            continue
        yield line, value if isinstance(value, dict) else 'must be a JSON object such as {"prompt": "…"}'


def _csv_rows(text: str, default_model: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    csv.field_size_limit(_LARGEST_CELL)
    reader = csv.DictReader(io.StringIO(text))
    while True:
        try:
            if len(reader.fieldnames or ()) > MOST_COLUMNS:
                yield reader.line_num, f"names more than {MOST_COLUMNS} columns"
                return
            cells = next(reader, None)
        except csv.Error as error:
            yield reader.line_num, f"is not CSV: {error}"
            return
        if cells is None:
            return
        if not any(map(_is_filled, cells.values())):
            continue
        if None in cells:
            yield reader.line_num, "has more cells than the header has names"
            continue
        fields: dict[str, Any] = {}
        for name, cell in cells.items():
            if not cell:  # an empty cell is an absent field
                continue
            if name.startswith(_LABEL):
                fields.setdefault("metadata", {})[name.removeprefix(_LABEL)] = cell
            else:
                fields[name] = (
                    cell if name in _TEXTS | _QUEUE else read_text(cells.get("model") or default_model, name, cell)
                )
        yield reader.line_num, fields


def _is_filled(cell: str | list[str] | None) -> bool:
    """Whether a cell, or one of the cells beyond the header, holds anything."""
    return any(map(str.strip, [cell] if isinstance(cell, str) else cell or []))


def _wrong_types(fields: dict[str, Any]) -> Iterator[FieldError]:
    """Check the types without which a row cannot be read as a request."""
    if not isinstance(fields.get("model", ""), str):
        yield FieldError("model", "must be text, such as google/veo3")
    for name in ("metadata", "parameters"):
        if not isinstance(fields.get(name) or {}, dict):
            yield FieldError(name, "must be an object of names and values")
    if not isinstance(fields.get("key"), str | int | None):
        yield FieldError("key", "must be text or a whole number")


def _request(fields: dict[str, Any], default_model: str) -> VideoRequest:
    """Build the request; parameters may be beside the prompt or under `parameters`."""
    model, prompt = fields.pop("model", default_model), fields.pop("prompt", None)
    metadata, parameters = fields.pop("metadata", None) or {}, fields.pop("parameters", None) or {}
    webhook_url = fields.pop("webhook_url", None)
    return VideoRequest(model, prompt, {**parameters, **fields}, metadata, webhook_url)
