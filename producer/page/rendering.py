"""Renders the page's templates. Whatever is put into them is escaped; only `Markup` of ours is not."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from jobs.job import Charged
from jobs.states import State, Status
from producer.counted import counted
from producer.keys import Scope

_MEGABYTE: Final = 1_000_000
_COMMAND: Final = re.compile(r"`([^`]+)`")


def render(template: str, **values: Any) -> str:
    """Render a template."""
    return _templates.get_template(template).render(**values)


def duration(seconds: float) -> str:
    """Format seconds in days, hours, minutes and seconds, the two largest of them."""
    whole = max(0, round(seconds))
    days, hours, minutes, rest = whole // 86_400, whole // 3600 % 24, whole // 60 % 60, whole % 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    if minutes:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{max(seconds, 0.1):.1f} s" if 0 < seconds < 10 else f"{rest} s"  # noqa: PLR2004 (tenths matter below)


def age(seconds: float) -> str:
    """Format an age by its largest unit."""
    whole = max(0, int(seconds))
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if whole >= length:
            return f"{whole // length} {unit}"
    return f"{whole} s"


def clock(at: float | None) -> Markup:
    """Format seconds since the epoch; with JavaScript the page shows it in the reader's own time zone."""
    if at is None:
        return Markup("-")
    moment = datetime.fromtimestamp(at, UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        moment.strftime("%Y-%m-%dT%H:%M:%SZ"), moment.strftime("%Y-%m-%d %H:%M:%S")
    )


def size(count: int) -> str:
    """Format a number of bytes in kB or MB."""
    return f"{count / _MEGABYTE:.1f} MB" if count >= _MEGABYTE else f"{count / 1e3:.0f} kB"


def cost(view: Mapping[str, Any]) -> str:
    """Format what a job cost, with `?` if the charge is unknown; a price that was not charged is no cost."""
    if view["cost_usd"] is None or view["charged"] == Charged.NO:
        return "-"
    return f"${view['cost_usd']:.2f}{'?' if view['charged'] == Charged.UNKNOWN else ''}"


def words(name: str) -> str:
    """Write a name of ours as words: `in_progress` as "in progress"."""
    return name.replace("_", " ")


def plain(value: Any) -> str:
    """Write a value as a person would: yes, no, nothing, or what it is."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "nothing"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def sentence(text: str) -> Markup:
    """Show what a sentence has in backticks as code; all of it is escaped."""
    pieces = enumerate(_COMMAND.split(text))  # every second one was in backticks
    return Markup("").join(Markup("<code>{}</code>").format(piece) if at % 2 else piece for at, piece in pieces)


_templates: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters.update({
    "duration": duration, "age": age, "clock": clock, "size": size, "cost": cost, "words": words, "plain": plain,
    "sentence": sentence,
})  # fmt: skip
_templates.globals.update({"counted": counted, "Scope": Scope, "State": State, "Status": Status})
