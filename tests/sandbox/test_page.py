"""The page about the sandbox tells of everything that it knows."""

from pathlib import Path

import pytest

from ops.sandbox.settings import SandboxSettings
from ops.sandbox.trouble import KINDS, OPTIONS

PAGE = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()


@pytest.mark.parametrize("setting", SandboxSettings.model_fields)
def test_every_setting_is_on_the_page(setting: str) -> None:
    """With its name as the command line and the environment have it."""
    assert f"`{setting}`" in PAGE


@pytest.mark.parametrize("kind", sorted({kind for kinds in KINDS.values() for kind in kinds}))
def test_every_kind_of_trouble_is_on_the_page(kind: str) -> None:
    """A reader who looks for it finds it."""
    assert f"`{kind}`" in PAGE


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_on_the_page(option: str) -> None:
    """With what it belongs to."""
    assert f"`{option}=" in PAGE


def test_every_setting_explains_itself() -> None:
    """In a sentence that `--help` shows."""
    assert all(field.description for field in SandboxSettings.model_fields.values())
