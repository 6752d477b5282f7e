"""What a sandbox shows where Python is not installed in the usual way."""

import sys
from pathlib import Path

import pytest

import trtlab_grader
from sandbox.conftest import RunPython


def test_modules_that_pythonpath_finds_are_found_inside(
    run_python: RunPython, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "elsewhere.py").write_text("print('imported')")
    monkeypatch.setenv("PYTHONPATH", f"relative::{tmp_path / 'site'}:{tmp_path / 'gone'}")
    code = "import os, runpy; runpy.run_path(os.environ['PYTHONPATH'] + '/elsewhere.py')"
    assert run_python(code) == ("imported", "exit status 0")


def test_the_grader_stays_hidden_when_pythonpath_names_its_folder(
    run_python: RunPython, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = Path(trtlab_grader.__file__).resolve().parent
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    code = f"import os; print(os.listdir({str(package)!r}))"
    assert run_python(code) == ("[]", "exit status 0")


def test_the_interpreter_is_there_though_its_folder_is_none_of_its_prefixes(
    run_python: RunPython, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    link = tmp_path / "bin" / "python"
    link.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(link))
    assert run_python("import os; print(os.path.exists('/proc/self/exe'))") == (
        "True",
        "exit status 0",
    )
