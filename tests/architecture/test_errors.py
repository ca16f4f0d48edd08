"""The drawings of errors are whole: nobody has to look elsewhere for what can go wrong."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from typing import Final

import pytest

PACKAGES: Final = ("config", "jobs", "worker", "producer", "ops")
NOT_IMPORTED: Final = re.compile(r"ops\.(sandbox|bench)|\w.*\.__main__|worker\.sql\.migrations")
"""The sandbox plays a stranger, the bench has contenders' libraries, the others are programs."""

LINE: Final = re.compile(r"(?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+)($| {2,}((?P<module>[a-z_.]+): )?\S.*)")
"""A branch, a class, and what its catcher does; in prose, words are one space apart."""


def drawn(module: str) -> dict[str, str | None]:
    """Each class of a drawing by its full name, and the class that it hangs from."""
    found: dict[str, str | None] = {}
    above: list[str] = []
    for read in map(LINE.fullmatch, (importlib.import_module(module).__doc__ or "").splitlines()):
        if read:
            depth = len(read["branch"]) // 4
            name = f"{read['module'] or module}.{read['name']}"
            found[name] = above[depth - 1] if depth else None
            above[depth:] = [name]
    return found


def defined() -> Iterator[type[BaseException]]:
    """Every exception class that our packages define and show to others."""
    for package in PACKAGES:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not NOT_IMPORTED.match(module.name):
                for name, value in vars(importlib.import_module(module.name)).items():
                    is_ours = inspect.isclass(value) and value.__module__ == module.name
                    if is_ours and issubclass(value, BaseException) and not name.startswith("_"):
                        yield value


DRAWN: Final = drawn("jobs.errors") | drawn("producer.client.errors")


def test_every_error_is_in_a_drawing() -> None:
    """Also one that a module keeps for its neighbours; what it keeps for itself begins with an underscore."""
    assert {f"{error.__module__}.{error.__name__}" for error in defined()} == set(DRAWN)


@pytest.mark.parametrize("name", sorted(DRAWN))
def test_a_drawing_says_what_is_true(name: str) -> None:
    """An error hangs from the class that catches it, and is a sentence of its own."""
    module, _, class_name = name.rpartition(".")
    error, parent = getattr(importlib.import_module(module), class_name), DRAWN[name]
    assert error.__doc__
    if parent is not None:
        assert f"{error.__mro__[1].__module__}.{error.__mro__[1].__name__}" == parent
