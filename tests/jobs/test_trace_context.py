"""Trace contexts: what W3C calls well-formed is kept, all else is ignored, and a job's ids are the same everywhere."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.trace_context import SAMPLED, TraceContext, span_id_of, trace_id_of, traceparent_of

TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
SPAN: Final = "b7ad6b7169203331"
GOOD: Final = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (GOOD, GOOD),
        (f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-00"),
        (f"00-{TRACE}-{SPAN}-03", f"00-{TRACE}-{SPAN}-03"),
        (f"01-{TRACE}-{SPAN}-0b", f"00-{TRACE}-{SPAN}-01"),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", GOOD),
    ],
    ids=["sampled", "not sampled", "flags of level 2", "a newer version", "a newer version with more parts"],
)
def test_a_well_formed_context_is_kept_as_version_00(text: str, kept: str) -> None:
    """Of a newer version only what version 00 has is understood, as W3C's "Versioning of traceparent" says."""
    assert traceparent_of([text]) == kept


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [""],
        [GOOD, GOOD],
        [GOOD.upper()],
        [f"{GOOD}-more"],
        [f" {GOOD}"],
        [f"{GOOD}\n"],
        [f"ff-{TRACE}-{SPAN}-01"],
        [f"00-{'0' * 32}-{SPAN}-01"],
        [f"00-{TRACE}-{'0' * 16}-01"],
        [f"00-{TRACE[:-1]}-{SPAN}-01"],
        [f"00-{TRACE}-{SPAN}-1"],
        [f"01-{TRACE}-{SPAN}-01more"],
        ["0" * 10_000],
    ],
)
def test_any_other_is_ignored(headers: list[str]) -> None:
    """A caller's mistake must not cost it the video."""
    assert traceparent_of(headers) is None


@given(st.text(max_size=80))
def test_whatever_comes_is_read_or_ignored(text: str) -> None:
    """What is read is what is sent on."""
    context = TraceContext.parse(text)
    assert context is None or TraceContext.parse(str(context)) == context


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 255))
def test_every_context_survives_being_written(trace_id: int, span_id: int, flags: int) -> None:
    """Ids that begin with zeros keep their length."""
    context = TraceContext(trace_id, span_id, flags)
    assert TraceContext.parse(str(context)) == context
    assert context.is_sampled == bool(flags & SAMPLED)


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
def test_a_jobs_ids_are_its_own(one: str, other: str) -> None:
    """Any process computes them; two jobs share neither."""
    assert 0 < trace_id_of(one, None) < 2**128
    assert 0 < span_id_of(one) < 2**64
    assert (
        (trace_id_of(one, None) == trace_id_of(other, None)) == (span_id_of(one) == span_id_of(other)) == (one == other)
    )


def test_a_jobs_ids_never_change() -> None:
    """Processes of two versions work on one job: another hash would tear its trace apart."""
    assert f"{trace_id_of('job_1', None):032x}" == "05a069c515ed9d2173710a0bd2268633"
    assert f"{span_id_of('job_1'):016x}" == "a2ac0888ad339a98"


def test_a_job_belongs_to_its_callers_trace() -> None:
    """The caller's own spans and ours are one trace."""
    assert trace_id_of("job_1", TraceContext.parse(GOOD)) == int(TRACE, 16)
