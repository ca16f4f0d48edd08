"""The wheel: its content, and that it works beside a project with packages of the same names."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import requests

from ops.stack.recipe import free_port
from tests.stage import ROOT, Stage, Worker, a_request, child, eventually

pytestmark = pytest.mark.long  # a wheel is built and installed


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, check=True, capture_output=True, cwd=ROOT)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a new environment, with dependencies from this one; returns its `rushes`."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install"]
    subprocess.run(
        [*install, "--no-deps", "--no-index", "--force-reinstall", str(wheel)], check=True, capture_output=True
    )
    assert (site / "config" / "launch.py").exists()
    return folder / "bin" / "rushes"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make a backend's folder, with packages of our names that raise on import."""
    folder = tmp_path / "a shop"
    for name in ("config", "worker", "producer", "shop"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").touch()
    for name in ("config/__init__.py", "worker/__init__.py", "producer/__init__.py", "jobs.py"):
        (folder / name).write_text("raise RuntimeError('the module of another project')\n")
    (folder / "shop" / "hooks.py").write_text(
        "def ended(result):\n    with open('ended.txt', 'a') as file:\n        file.write(result.id + '\\n')\n"
    )
    return folder


@pytest.mark.parametrize("python", [{}, {"PYTHONSAFEPATH": "1"}, {"PYTHONPATH": "."}, {"PYTHONWARNINGS": "error"}])
def test_an_installed_worker_works_where_a_project_has_packages_of_the_same_names(
    stage: Stage, installed: Path, project: Path, python: dict[str, str]
) -> None:
    """It buys, describes the video, calls the project's hook, and reports which modules it shadows."""
    environment = {
        **stage.environment,
        "RUSHES_DESCRIBE__PROBE": "true",
        "RUSHES_HOOKS__CALL": "shop.hooks:ended",
        **python,
    }
    log = stage.folder / "installed.log"
    with child([str(installed), "worker", "-n", "one@test", "-c", "4"], log, environment, cwd=project) as process:
        worker = Worker("one", process, log)
        eventually(lambda: stage._seen("one") or process.poll() is not None, what="the worker's start")
        assert process.poll() is None, worker.said()
        job = stage.ended(stage.service.submit(a_request()).job_id)
        assert job.media is not None, worker.said()
        eventually((project / "ended.txt").exists, what="the hook")
        assert (project / "ended.txt").read_text().split() == [job.id]
        for name in ("config", "jobs", "worker", "producer"):
            assert f"`{name}` in {project}" in worker.said()
        assert "`shop`" not in worker.said()
        assert "RuntimeError" not in worker.said()
        assert worker.terminate() == 0, "the signal reaches Celery itself"


@pytest.mark.parametrize(("part", "page"), [("api", "/healthz"), ("flower", "/healthcheck")])
def test_an_installed_api_and_flower_start_there_too(
    stage: Stage, installed: Path, project: Path, part: str, page: str
) -> None:
    """They use the same command line and environment."""
    port, log = free_port(), stage.folder / "part.log"
    environment = {**stage.environment, f"RUSHES_{part.upper()}__PORT": str(port), "PYTHONPATH": str(project)}
    with child([str(installed), part], log, environment, cwd=project) as process:

        def answers() -> bool:
            try:
                return requests.get(f"http://127.0.0.1:{port}{page}", timeout=5).ok
            except requests.ConnectionError:
                return process.poll() is not None

        eventually(answers, what=f"the start of {part}")
        assert process.poll() is None, log.read_text()


def test_a_name_that_is_already_imported_from_elsewhere_is_reported(installed: Path, project: Path) -> None:
    """A `sitecustomize` or a debugger may have imported the project's package before us."""
    (project / "sitecustomize.py").write_text("import sys, types\nsys.modules['jobs'] = types.ModuleType('jobs')\n")
    ran = subprocess.run(
        [str(installed), "list"],
        env={"PYTHONPATH": str(project)},
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "imported as `jobs` before Rushes' own" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_wheel_carries_every_script_migration_and_page(wheel: Path) -> None:
    """An installed worker and API read them from their packages."""
    packed = set(zipfile.ZipFile(wheel).namelist())
    wanted = [*ROOT.glob("jobs/lua/*.lua"), *ROOT.glob("worker/sql/migrations/**/*.py")]
    wanted += [*ROOT.glob("producer/page/templates/*.html"), *ROOT.glob("producer/page/assets/*")]
    assert len(wanted) > 5
    assert {str(file.relative_to(ROOT)) for file in wanted} <= packed
