"""Counts in English."""

import pytest

from producer.counted import counted


@pytest.mark.parametrize(("count", "said"), [(0, "0 jobs wait"), (1, "1 job waits"), (2, "2 jobs wait")])
def test_a_count_and_its_words_agree(count: int, said: str) -> None:
    """Only one is one."""
    assert counted(count, "job waits", "jobs wait") == said
