"""What a sandbox shows where Python is not installed in the usual way."""

import sys
from dataclasses import dataclass
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


def test_pytorch_is_there_where_an_environment_only_links_to_it(
    run_python: RunPython, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, site = tmp_path / "elsewhere" / "torch", tmp_path / "site" / "torch"
    elsewhere.mkdir(parents=True)
    site.mkdir(parents=True)
    (elsewhere / "__init__.py").write_text("print('the linked one')")
    (site / "__init__.py").symlink_to(elsewhere / "__init__.py")
    monkeypatch.setenv("PYTHONPATH", str(site.parent))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: FoundAt(str(site / "__init__.py")))
    code = "import os, runpy; runpy.run_path(os.environ['PYTHONPATH'] + '/torch/__init__.py')"
    assert run_python(code) == ("the linked one", "exit status 0")


@dataclass
class FoundAt:
    origin: str
