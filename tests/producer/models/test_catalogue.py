"""The catalogue and the sandbox's are the upstream's pages: no model more, no parameter less, the same defaults."""

import pytest

from ops.sandbox.catalogue import BY_NAME
from producer.models.catalogue import MODELS, defaults_of, parameters_of, schema_of
from producer.models.kinds import COMPARED
from producer.models.wording import choices_of
from tests.upstream_pages import PAGES


def test_every_model_has_a_page() -> None:
    """A page that comes or goes is a change here too."""
    assert set(MODELS) == set(BY_NAME) == set(PAGES)


@pytest.mark.parametrize("model", PAGES)
def test_a_model_is_what_its_page_says(model: str) -> None:
    """Parameters, which of them are required, their choices and their defaults."""
    page = PAGES[model]
    assert set(parameters_of(model)) == {"prompt", *page.requires, *page.takes}
    assert set(schema_of(MODELS[model])["required"]) == {"prompt", *page.requires}
    assert defaults_of(model) == page.defaults
    for name, schema in parameters_of(model).items():
        if choices := choices_of(schema):
            kind = type(choices[0])
            assert set(choices) == {value for value in page.takes[name] if isinstance(value, kind)}


@pytest.mark.parametrize("model", PAGES)
def test_the_sandbox_takes_and_renders_what_the_page_says(model: str) -> None:
    """What a video is compared with is the same at both ends: a usual video of the sandbox's has no mismatch."""
    page = PAGES[model]
    rules = {rule.name: rule for rule in BY_NAME[model].fields}
    assert set(rules) == {"prompt", *page.requires, *page.takes}
    assert {name for name, rule in rules.items() if rule.required} == {"prompt", *page.requires}
    for name in COMPARED:
        assert name not in page.defaults or rules[name].default == page.defaults[name]
    for name, rule in rules.items():
        assert not rule.options or set(rule.options) == page.takes[name]
