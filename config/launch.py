"""Runs one of our modules, or Celery, so that our packages are found before others of the same name.

`python -P launch.py MODULE ARGS`: the working directory or PYTHONPATH may contain another `config` or `jobs`. The
working directory is searched last, for hooks. It imports only the standard library, as it runs before our packages can
be imported.
"""

import os
import runpy
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import Final

HOME: Final = Path(__file__).resolve().parents[1]
"""The folder of our packages: site-packages, or a checkout."""

NAMES: Final = ("config", "jobs", "worker", "producer", "ops")


def command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module this way."""
    return [sys.executable, "-P", str(HOME / "config" / "launch.py"), module, *arguments]


def claim_names() -> None:
    """Import our packages from `HOME`, so that no other package gets their names.

    Raises:
        SystemExit: another package of that name is already imported; the message names both.
    """
    for name in NAMES:
        found = sys.modules.get(name)
        if found is None:
            _import(name)
        elif str(HOME / name) not in map(os.path.realpath, getattr(found, "__path__", ())):
            theirs = getattr(found, "__file__", None) or "another package"
            raise SystemExit(
                f"{theirs} was imported as `{name}` before Rushes' own, {HOME / name}: rename or remove it."
            )


def shadowed() -> Iterator[tuple[str, Path]]:
    """Find modules in the working directory or PYTHONPATH that our packages shadow."""
    folders = [Path.cwd(), *map(Path, filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))]
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        if folder != HOME:
            yield from ((name, folder) for name in NAMES if _contains(folder, name))


def _contains(folder: Path, name: str) -> bool:
    return (folder / f"{name}.py").is_file() or any((folder / name).glob("*.py"))


def _import(name: str) -> None:
    spec = PathFinder.find_spec(name, [str(HOME)])
    if spec is None or spec.loader is None:
        raise SystemExit(f"Rushes is incomplete: {HOME / name} is missing. Install it again.")
    sys.modules[name] = module = module_from_spec(spec)
    spec.loader.exec_module(module)


def _main() -> None:
    claim_names()
    if (here := os.getcwd()) not in sys.path:  # noqa: PTH109 (sys.path holds text)
        sys.path.append(here)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
