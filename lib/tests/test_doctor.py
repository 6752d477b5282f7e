"""trtlab doctor says what is here, what is missing, and how to get it."""

import importlib.metadata
import json
from pathlib import Path

import pytest

from cli_runner import trtlab
from trtlab import doctor


def by_name() -> dict[str, doctor.Finding]:
    return {finding.what: finding for finding in doctor.examine()}


def test_installed_packages_are_found_with_their_versions() -> None:
    found = by_name()
    for name in ("torch", "onnx", "nbgrader"):
        assert found[name].state == "ok"
        assert found[name].found == importlib.metadata.version(name)


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    version = importlib.metadata.version

    def without_onnxsim(name: str) -> str:
        if name == "onnxsim":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without_onnxsim)
    finding = by_name()["onnxsim"]
    assert finding.state == "missing"
    assert "requirements.lock" in finding.remedy
    assert trtlab("doctor").status == 1


def test_a_tensorrt_that_pip_did_not_install_is_here_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tensorrt", "pycuda"):
        (tmp_path / f"{name}.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("tensorrt", "pycuda"):
        assert by_name()[name].state == "ok"


def test_without_alembic_on_path_the_gradebook_is_warned_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    finding = by_name()["alembic on PATH"]
    assert finding.state == "optional"
    assert "PATH" in finding.remedy


def test_missing_weights_are_missing(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr("trtlab.models.shipped_weights", lambda name: tmp_path / name)
    assert by_name()["digits weights"].state == "missing"


def test_an_old_python_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.sys, "version_info", (3, 9, 1))
    assert by_name()["Python"].state == "missing"


def test_little_disk_space_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MIN_FREE_GIB", 10**9)
    assert "free at least" in by_name()["free disk space"].remedy


def test_machines_get_json() -> None:
    outcome = trtlab("doctor", "--json")
    findings = json.loads(outcome.out)
    assert {"what", "state", "found", "remedy"} == set(findings[0])
