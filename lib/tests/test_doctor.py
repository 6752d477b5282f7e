"""trtlab doctor says what is here, what is missing, and how to get it."""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli_runner import trtlab
from trtlab import doctor
from trtlab.machine import GpuFacts


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


# --- machines on which TensorRT, the emulation or the whole installation is broken

NO_TENSORRT = {"tensorrt": "raise ImportError('no tensorrt here')"}
TENSORRT_11 = {"tensorrt": "__version__ = '11.4.0.106'"}
PYCUDA_WITHOUT_LIBRARY = {
    "tensorrt": "__version__ = '10.16.1.11'",
    "pycuda": "raise ImportError('libcurand.so.10: cannot open shared object file')",
}
A_GPU = """
import trtlab.machine
trtlab.machine.gpu_facts = lambda: trtlab.machine.GpuFacts(name="A GPU", driver="580.1")
"""
RUN = "from trtlab.cli import main; main()"


def elsewhere(
    folder: Path, stubs: dict[str, str], before: str = "", **environment: str
) -> tuple[int, dict[str, doctor.Finding]]:
    """Return status and findings of `trtlab doctor` where `stubs` are the installed modules."""
    for name, source in stubs.items():
        (folder / f"{name}.py").write_text(source)
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", f"{before}\n{RUN}", "doctor", "--json"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path, "TRTLAB_BACKEND": "auto"} | environment,
    )
    assert done.stderr == ""
    findings = [doctor.Finding.model_validate(finding) for finding in json.loads(done.stdout)]
    return done.returncode, {finding.what: finding for finding in findings}


@pytest.mark.parametrize(
    ("stubs", "wanted", "words"),
    [
        (NO_TENSORRT, "tensorrt", ["no tensorrt here", "requirements-gpu.lock"]),
        (TENSORRT_11, "auto", ["11 removed", "Install TensorRT 10"]),
    ],
    ids=["wanted-but-missing", "tensorrt-11"],
)
def test_without_a_usable_backend_the_table_is_whole_and_its_row_says_what_to_do(
    tmp_path: Path, stubs: dict[str, str], wanted: str, words: list[str]
) -> None:
    status, found = elsewhere(tmp_path, stubs, TRTLAB_BACKEND=wanted)
    assert status == 1
    assert list(found) == list(by_name())
    assert found["backend"].state == "missing"
    for word in words:
        assert word in found["backend"].remedy


def test_with_a_gpu_the_reason_why_tensorrt_is_emulated_is_told(tmp_path: Path) -> None:
    status, found = elsewhere(tmp_path, PYCUDA_WITHOUT_LIBRARY, A_GPU)
    assert status == 0, "the labs run on the emulation"
    assert found["NVIDIA GPU"].found == "A GPU, driver 580.1"
    assert found["backend"].state == "optional"
    assert "the CPU emulation" in found["backend"].found
    assert "ImportError: libcurand.so.10: cannot open" in found["backend"].found
    assert "requirements-gpu.lock" in found["backend"].remedy


@pytest.mark.parametrize(
    ("gpu", "why_not_real", "state", "words"),
    [
        (None, "ImportError: no tensorrt", "ok", "emulation (1.2)"),
        (GpuFacts(name="A GPU"), None, "ok", "emulation (1.2), as TRTLAB_BACKEND asks"),
        (GpuFacts(name="A GPU"), "ImportError: no tensorrt", "optional", "no tensorrt"),
    ],
    ids=["no-gpu", "asked-for", "broken"],
)
def test_the_emulation_is_fine_without_a_gpu_or_when_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
    gpu: GpuFacts | None,
    why_not_real: str | None,
    state: str,
    words: str,
) -> None:
    monkeypatch.setattr(doctor, "gpu_facts", lambda: gpu)
    monkeypatch.setattr("trtlab.backend.IS_EMULATED", True)
    monkeypatch.setattr("trtlab.backend.WHY_NOT_REAL", why_not_real)
    monkeypatch.setattr("trtlab.backend.trt.__version__", "1.2")
    finding = by_name()["backend"]
    assert finding.state == state
    assert finding.found.endswith(words)


def test_packages_that_cannot_be_imported_cost_their_rows_and_not_the_table(tmp_path: Path) -> None:
    broken = {name: f"raise ImportError('no {name} here')" for name in ("torch", "onnxruntime")}
    status, found = elsewhere(tmp_path, broken, TRTLAB_BACKEND="emulated")
    assert status == 1
    assert list(found) == list(by_name())
    for row, package in (("backend", "onnxruntime"), ("digits weights", "torch")):
        assert found[row].state == "missing"
        assert found[row].found == f"no {package} here"
        assert "requirements.lock" in found[row].remedy
