"""The repository's promises about itself: pins agree, CI runs the documented command."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(lock: str) -> dict[str, set[str]]:
    """Versions by name; more than one where they differ by Python version."""
    lines = (ROOT / lock).read_text().splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    found: dict[str, set[str]] = {}
    for requirement in requirements:
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", f"{requirement} in {lock} is not pinned"
        name = canonicalize_name(requirement.name)
        assert name not in found or requirement.marker, f"{name} is pinned twice in {lock}"
        found.setdefault(name, set()).add(specifier.version)
    return found


def declared() -> list[str]:
    return project()["dependencies"] + project()["optional-dependencies"]["dev"]


@pytest.mark.parametrize("text", declared())
def test_every_declared_requirement_is_pinned_to_a_version_it_allows(text: str) -> None:
    requirement = Requirement(text)
    versions = pins("requirements.lock").get(canonicalize_name(requirement.name))
    assert versions, f"{requirement.name} is missing from requirements.lock"
    assert all(requirement.specifier.contains(version) for version in versions)


@pytest.mark.parametrize("text", project()["optional-dependencies"]["gpu"])
def test_every_gpu_requirement_is_pinned_to_a_version_it_allows(text: str) -> None:
    requirement = Requirement(text)
    versions = pins("requirements-gpu.lock").get(canonicalize_name(requirement.name))
    assert versions, f"{requirement.name} is missing from requirements-gpu.lock"
    assert all(requirement.specifier.contains(version) for version in versions)


def test_the_two_locks_do_not_contradict_each_other() -> None:
    cpu, gpu = pins("requirements.lock"), pins("requirements-gpu.lock")
    assert {name: gpu[name] for name in cpu.keys() & gpu.keys()} == {
        name: cpu[name] for name in cpu.keys() & gpu.keys()
    }


def test_the_course_packages_are_all_declared() -> None:
    names = {canonicalize_name(Requirement(text).name) for text in declared()}
    names |= {
        canonicalize_name(Requirement(text).name)
        for text in project()["optional-dependencies"]["gpu"]
    }
    course = "jupyterlab nbgrader torch torchvision onnx onnxsim tensorrt pycuda nvidia-ml-py "
    assert set((course + "matplotlib pytest").split()) <= names


def test_conda_users_get_the_same_pins() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-r requirements.lock", "-e ."]
    (python,) = [e for e in environment["dependencies"] if str(e).startswith("python=")]
    assert Requirement(f"python{project()['requires-python']}").specifier.contains(
        python.removeprefix("python=")
    )


def test_ci_runs_exactly_the_documented_test_command() -> None:
    commands = [
        line
        for line in (ROOT / ".ci" / "run").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert commands == ["make test"]
    assert "make test" in (ROOT / "README.md").read_text()


def tracked_text_files() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    binary = {".png", ".safetensors", ".npz", ".bin"}
    return [
        path
        for name in listing.splitlines()
        if (path := ROOT / name).is_file() and path.suffix not in binary
    ]


def test_no_tracked_file_names_a_package_index_or_a_home_folder() -> None:
    hosts, folders = (
        r"(pypi|files)\.python(hosted)?\.org|registry\.npmjs",
        r"(?<!\w)/root/|/work/main",
    )
    forbidden = re.compile(f"{hosts}|{folders}")
    for path in tracked_text_files():
        if path != Path(__file__):
            assert not forbidden.search(path.read_text(errors="replace")), path


def test_no_source_file_has_grown_beyond_reading() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in tracked_text_files()
        if path.suffix == ".py"
        and "tests" not in path.parts
        and (count := len(path.read_text().splitlines())) > 400
    }
    assert not long
