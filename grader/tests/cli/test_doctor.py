"""trtlab-grade doctor on machines whose backend is broken, which is when somebody calls it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.runner import trtlab_grade
from trtlab_grader import doctor
from trtlab_grader.course import Course
from trtlab_grader.dispatch import Gpu


def test_without_a_usable_backend_everything_else_is_examined_all_the_same(
    course: Course, tmp_path: Path
) -> None:
    (tmp_path / "tensorrt.py").write_text("__version__ = '11.4.0.106'")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    run = "from trtlab_grader.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", run, "doctor", "--json", "--course", course.root],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path, "TRTLAB_BACKEND": "auto"},
    )
    assert done.returncode == 1
    assert done.stderr == ""
    found = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert found["backend"]["state"] == "missing"
    assert "11 removed" in found["backend"]["remedy"]
    assert {"sandbox", "GPU", "cores", "gradebook", "disk"} <= found.keys()
    assert found["course"]["state"] == "ok"


@pytest.mark.parametrize("gpus", [0, 2])
def test_why_tensorrt_is_emulated_is_told_where_there_is_a_gpu(
    course: Course, monkeypatch: pytest.MonkeyPatch, gpus: int
) -> None:
    monkeypatch.setattr(doctor, "visible_gpus", lambda: [Gpu("GPU-aa", 80.0)] * gpus)
    monkeypatch.setattr("trtlab.backend.IS_EMULATED", True)
    monkeypatch.setattr("trtlab.backend.WHY_NOT_REAL", "ImportError: libcurand.so.10")
    ended = trtlab_grade("doctor", "--json", "--course", course.root)
    (row,) = (finding for finding in json.loads(ended.out) if finding["what"] == "GPU")
    assert row["found"].startswith(f"{gpus} found, TensorRT is emulated")
    assert ("libcurand" in row["found"]) == bool(gpus)


@pytest.mark.parametrize("compiled", [True, False])
def test_packages_that_every_kernel_would_compile_anew_are_found(
    course: Course, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compiled: bool
) -> None:
    cached = tmp_path / "kernelapp.pyc"
    monkeypatch.setattr("importlib.util.cache_from_source", lambda source: str(cached))
    if compiled:
        cached.touch()
    ended = trtlab_grade("doctor", "--json", "--course", course.root)
    (row,) = (finding for finding in json.loads(ended.out) if finding["what"] == "packages")
    assert row["state"] == ("ok" if compiled else "optional")
    assert ("-m compileall" in row["remedy"]) != compiled


@pytest.mark.usefixtures("needs_sandbox")
@pytest.mark.parametrize("shut", [".", ".grader.lock", "records"])
def test_a_course_that_cannot_be_written_to_is_found(course: Course, shut: str) -> None:
    """Mounted read-only, for tests may run as root, whom permissions do not stop."""
    (course.root / "records").mkdir()
    path = str((course.root / shut).resolve())
    examined = (
        "import sys; from pathlib import Path; from trtlab_grader import doctor\n"
        "for finding in doctor._course(Path(sys.argv[1])): print(finding.model_dump_json())"
    )
    done = subprocess.run(
        [
            *["bwrap", "--dev-bind", "/", "/", "--ro-bind", path, path],
            *["--", sys.executable, "-c", examined, str(course.root)],
        ],
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    found = {f["what"]: f for f in map(json.loads, done.stdout.splitlines())}
    assert found["course"]["state"] == "missing"
    assert found["course"]["found"] == f"{path} cannot be written to"
