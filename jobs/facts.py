"""What the upstream and the archive can tell us: facts, made at the border, matched exhaustively inside."""

from dataclasses import dataclass

from jobs.job import Hold, Stored, Video
from jobs.media import Media


@dataclass(frozen=True, slots=True)
class Accepted:
    """The upstream took the order: something was bought."""

    generation_id: str
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class NotBought:
    """Provably nothing was bought, and the same request may go through later."""

    hold: Hold
    message: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """Provably nothing was bought, and the same request will never go through."""

    message: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The request was sent and what became of it cannot be told: it must not be sent again."""

    message: str


@dataclass(frozen=True, slots=True)
class LogRow:
    """One line of the upstream's request log: a purchase that is known by our request id."""

    request_id: str
    generation_id: str
    cost_usd: float | None


Receipt = Accepted | NotBought | Rejected | Unknown


@dataclass(frozen=True, slots=True)
class Pending:
    """Not done yet; `word` is the upstream's own."""

    word: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Done: the video can be fetched."""

    video: Video


@dataclass(frozen=True, slots=True)
class Refused:
    """The upstream could not render it; failed generations are not charged."""

    message: str


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Nothing was learnt; look again later."""

    hold: Hold
    message: str
    retry_after_s: float | None = None


Sighting = Pending | Finished | Refused | Unreachable


@dataclass(frozen=True, slots=True)
class Fetched:
    """The bytes are ours; `media` is what is in them, where that could be seen."""

    stored: Stored
    media: Media | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """The URL does not serve the video any more; a fresh look may hand out another."""

    message: str


@dataclass(frozen=True, slots=True)
class NotFetched:
    """The bytes could not be fetched or kept this time."""

    message: str


Download = Fetched | Gone | NotFetched
