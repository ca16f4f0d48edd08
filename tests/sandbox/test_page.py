"""docs/reference/sandbox.md documents every setting, fault and option."""

from pathlib import Path

import pytest

from ops.sandbox.fault import KINDS, OPTIONS
from ops.sandbox.settings import SandboxSettings

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "sandbox.md").read_text()


@pytest.mark.parametrize("setting", SandboxSettings.model_fields)
def test_every_setting_is_on_the_page(setting: str) -> None:
    """It has the name of the option and the variable."""
    assert f"`{setting}`" in PAGE


@pytest.mark.parametrize("kind", sorted({kind for kinds in KINDS.values() for kind in kinds}))
def test_every_kind_of_fault_is_on_the_page(kind: str) -> None:
    """Each kind is documented."""
    assert f"`{kind}`" in PAGE


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_on_the_page(option: str) -> None:
    """Each option is documented."""
    assert f"`{option}=" in PAGE


def test_every_setting_has_a_description() -> None:
    """`--help` shows it."""
    assert all(field.description for field in SandboxSettings.model_fields.values())
