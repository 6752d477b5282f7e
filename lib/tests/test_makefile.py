"""The Makefile's promise: every command first makes the environment that it needs, once.

Nothing is installed here: Python and nvidia-smi are stand-ins that note how they were called.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INPUTS = ("requirements.lock", "requirements-gpu.lock", "pyproject.toml")
TOOLS = {
    "demo": "trtlab-grade demo --output runs/class",
    "test": "python -m pytest",
    "coverage": "python -m pytest",
    "mutants": "python -m pytest",
    "attacks": "python -m pytest",
    "lab": "jupyter lab --notebook-dir=labs",
    "lint": "ruff check .",
}
"""Make target -> what it runs in the end."""

STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*" >> commands.log
case "$*" in
    "-m venv .venv")
        mkdir -p .venv/bin
        for tool in python trtlab trtlab-grade jupyter ruff mypy; do
            cp "$0" ".venv/bin/$tool"
        done ;;
    *"$REFUSED"*) exit 1 ;;
esac
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@dataclass
class Checkout:
    """A folder with the Makefile and what it reads, and a machine of stand-ins around it."""

    folder: Path
    tools: Path
    gpu: bool = False
    refused: str = "nothing"
    log: list[str] = field(default_factory=list)

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run make; `log` has the commands of this run only."""
        (self.tools / "nvidia-smi").write_text(f"#!/bin/sh\nexit {0 if self.gpu else 9}\n")
        (self.tools / "nvidia-smi").chmod(0o755)
        (self.folder / "commands.log").write_text("")
        done = subprocess.run(
            ["make", *arguments],
            cwd=self.folder,
            env={"PATH": f"{self.tools}:{os.defpath}:/usr/bin:/bin", "REFUSED": self.refused},
            capture_output=True,
            text=True,
            check=False,
        )
        self.log = (self.folder / "commands.log").read_text().splitlines()
        return done

    def installed(self, what: str) -> bool:
        return any("pip install" in line and line.endswith(what) for line in self.log)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path / "checkout", tmp_path / "tools")
    made.folder.mkdir()
    made.tools.mkdir()
    for name in ("Makefile", *INPUTS):
        shutil.copy(ROOT / name, made.folder)
        os.utime(made.folder / name, (1, 1))
    for name in ("python3", "apt-get"):
        (made.tools / name).write_text(STAND_IN)
        (made.tools / name).chmod(0o755)
    return made


@pytest.mark.parametrize("target", TOOLS)
def test_a_command_makes_the_environment_first_and_only_once(
    checkout: Checkout, target: str
) -> None:
    assert checkout.make(target).returncode == 0
    assert checkout.installed("-r requirements.lock")
    assert checkout.installed("-e .")
    assert [line for line in checkout.log if line.startswith(TOOLS[target])]
    assert checkout.make(target).returncode == 0
    assert not [line for line in checkout.log if "venv" in line or "install" in line]


@pytest.mark.parametrize("name", INPUTS)
def test_an_environment_older_than_what_it_is_made_from_is_brought_up_to_date(
    checkout: Checkout, name: str
) -> None:
    checkout.make("lint")
    os.utime(checkout.folder / name)
    checkout.make("lint")
    assert checkout.installed("-r requirements.lock")
    assert "python3 -m venv .venv" not in checkout.log, "what is there is kept"


@pytest.mark.parametrize("gpu", [True, False])
def test_the_gpu_requirements_are_installed_where_nvidia_smi_answers(
    checkout: Checkout, gpu: bool
) -> None:
    checkout.gpu = gpu
    assert checkout.make("lint").returncode == 0
    assert checkout.installed("-r requirements-gpu.lock") == gpu


def test_gpu_requirements_that_cannot_be_installed_leave_the_emulation(checkout: Checkout) -> None:
    checkout.gpu, checkout.refused = True, "requirements-gpu.lock"
    done = checkout.make("demo")
    assert done.returncode == 0
    assert "Going on with the emulation" in done.stderr
    assert TOOLS["demo"] in checkout.log


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may install packages")
def test_a_missing_program_is_installed_where_that_is_possible(checkout: Checkout) -> None:
    assert checkout.make("demo", "SANDBOX=no-such-program:its-package").returncode == 0
    assert "apt-get install -qq -y its-package" in checkout.log
    checkout.make("demo", "SANDBOX=sh:dash")
    assert not [line for line in checkout.log if line.startswith("apt-get")]


def test_a_program_that_cannot_be_installed_stops_nothing(checkout: Checkout) -> None:
    checkout.refused = "its-package"
    done = checkout.make("demo", "SANDBOX=no-such-program:its-package")
    assert done.returncode == 0
    assert "no-such-program is not here (Debian: apt install its-package)" in done.stderr
    assert TOOLS["demo"] in checkout.log


def test_a_failed_installation_is_not_taken_for_an_environment(checkout: Checkout) -> None:
    checkout.refused = "requirements.lock"
    assert checkout.make("demo").returncode != 0
    assert TOOLS["demo"] not in checkout.log
    checkout.refused = "nothing"
    assert checkout.make("demo").returncode == 0
    assert checkout.installed("-r requirements.lock")


def test_without_a_suitable_python_the_message_says_what_to_install(checkout: Checkout) -> None:
    done = checkout.make("demo", "PYTHON=")
    assert done.returncode != 0
    assert "No Python 3.10 to 3.13 found: install one" in done.stderr


def test_clean_removes_the_environment_and_what_runs_have_written(checkout: Checkout) -> None:
    checkout.make("lint")
    (checkout.folder / "runs" / "demo").mkdir(parents=True)
    assert checkout.make("clean").returncode == 0
    left = {path.name for path in checkout.folder.iterdir()}
    assert left == {"Makefile", *INPUTS, "commands.log"}


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_every_make_command_of_the_documents_exists(document: str) -> None:
    named = set(re.findall(r"\bmake ([a-z]+)\b", (ROOT / document).read_text()))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert named & {"demo", "test"}
    assert named <= targets


@pytest.mark.parametrize("tensorrt", [True, False])
def test_the_tests_of_tensorrt_run_where_it_is(checkout: Checkout, tensorrt: bool) -> None:
    checkout.refused = "nothing" if tensorrt else "IS_EMULATED"
    assert checkout.make("test").returncode == 0
    ran = [line for line in checkout.log if line.startswith("python -m pytest")]
    assert "--dist worksteal" in ran[0]
    assert len(ran) == (3 if tensorrt else 1)
    assert ("python -m pytest -m gpu lib/tests" in ran) == tensorrt


def test_coverage_has_a_floor(checkout: Checkout) -> None:
    assert checkout.make("coverage").returncode == 0
    (ran,) = (line for line in checkout.log if line.startswith("python -m pytest"))
    assert "--cov " in ran
    assert "--cov-fail-under=90" in ran


@pytest.mark.parametrize("tests", ["--dist worksteal", "-m gpu lib/tests", "lib/tests/inference"])
def test_tests_that_fail_fail_the_command(checkout: Checkout, tests: str) -> None:
    checkout.make("lint")
    checkout.refused = tests
    assert checkout.make("test").returncode != 0
