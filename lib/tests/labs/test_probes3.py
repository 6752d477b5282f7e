"""Lab 3's probes with their three steps apart, as the grader runs them, and attacks on them."""

import os
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from PIL import Image

from labs.harness import solution_path
from mutants import shrink_of
from trtlab.checks.registry import judge
from trtlab.checks.verdict import Verdict
from trtlab.data import write_image_folder
from trtlab.lab.bench import LocalBench
from trtlab.lab.exchange import ExchangeError, read_array, write_array
from trtlab.lab.probe import OBSERVED, Scene, evidence_of, probe_of, run_probe
from trtlab.lab.probes import lab3
from trtlab.workloads import load_workload

SEED = 20_240_611
CELLS = ("setup", "task-3-1-images", "call-3-1-images", "task-3-1", "task-3-2")
CELLS_OF_THE_BUILD = ("task-3-3", "call-3-3")
"""The reference solution's cells that define or make what the probes look at."""

Tamper = Callable[[Path], Any]


@dataclass(frozen=True)
class Student:
    """A notebook that has run: its names, its folder, and where its kernel's answers are kept."""

    names: Mapping[str, Any]
    folder: Path
    answers: Path

    def made(self, task: str) -> Path:
        """Return what `run` makes of the inputs of SEED; it is called once for a task."""
        given, made = self.answers / task / "given", self.answers / task / "made"
        if not made.exists():
            given.mkdir(parents=True)
            made.mkdir()
            probe_of(task).give(given, SEED)
            with inside(self.folder):
                run_probe(task, self.names, given, made)
        return made


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder; contextlib.chdir is not in Python 3.10."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def student(provided_artifacts: None, tmp_path_factory: pytest.TempPathFactory) -> Student:
    """The reference solution, its cells executed in a dict of their own."""
    notebook = nbformat.read(solution_path(3), as_version=4)
    sources = {cell.id: cell.source for cell in notebook.cells}
    names: dict[str, Any] = {}
    folder = tmp_path_factory.mktemp("class") / "03-calibrate"
    folder.mkdir()
    with inside(folder), redirect_stdout(StringIO()):
        for cell in (*CELLS, *CELLS_OF_THE_BUILD):
            source = sources[cell]
            for old, new in shrink_of(3).items():
                source = source.replace(old, new)
            exec(source, names)
    return Student(names, folder, tmp_path_factory.mktemp("answers"))


def judged(
    task: str,
    student: Student,
    tmp_path: Path,
    tamper: Tamper = lambda made: None,
    *,
    expecting: int = SEED,
) -> Verdict:
    """Carry a kernel's answers elsewhere, tamper with them, and judge.

    Args:
        expecting: the seed that `evidence` expects inputs of; `give` always has SEED.
    """
    carried = tmp_path / f"carried-{task}"
    shutil.copytree(student.made(task), carried)
    tamper(carried)
    given = student.made(task).with_name("given")
    scene = Scene(given, carried, expecting, student.folder, LocalBench())
    return judge(task, evidence_of(task, scene))


def failed(verdict: Verdict) -> set[str]:
    return {finding.criterion for finding in verdict.findings if finding.state == "fail"}


@pytest.mark.parametrize("task", ["3.1", "3.2", "3.3", "3.4", "3.5"])
def test_the_reference_earns_its_points_with_the_steps_apart(
    task: str, student: Student, tmp_path: Path
) -> None:
    verdict = judged(task, student, tmp_path)
    assert not failed(verdict), verdict.findings


@pytest.mark.parametrize("task", ["3.1", "3.2"])
def test_inputs_follow_from_the_seed_alone(task: str, tmp_path: Path) -> None:
    contents = []
    for number, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(number)
        folder.mkdir()
        probe_of(task).give(folder, seed)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        contents.append({str(path.relative_to(folder)): path.read_bytes() for path in files})
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


# Attacks on what is carried out of the kernel


def holds_nan(file: str) -> Tamper:
    return lambda made: write_array(made / file, np.full_like(read_array(made / file), np.nan))


@pytest.mark.parametrize(
    ("task", "file", "lost"),
    [
        ("3.1", "whole.npy", {"the values are those of the model's preprocessing"}),
        ("3.1", "again.npy", {"a limit mixes the classes, the same way every time"}),
        (
            "3.2",
            "batches.npy",
            {"get_batch puts each batch on the device", "one device buffer for all batches"},
        ),
    ],
)
def test_nan_for_an_answer_earns_nothing(
    task: str, file: str, lost: set[str], student: Student, tmp_path: Path
) -> None:
    assert failed(judged(task, student, tmp_path, holds_nan(file))) == lost


@pytest.mark.parametrize(
    ("task", "lost"),
    [
        (
            "3.1",
            {
                "all images of the folder, at most num_samples",
                "the values are those of the model's preprocessing",
                "a limit mixes the classes, the same way every time",
            },
        ),
        (
            "3.2",
            {
                "get_batch puts each batch on the device",
                "one device buffer for all batches",
                "the cache is read if it is there",
                "the cache is written",
            },
        ),
    ],
)
def test_answers_to_the_inputs_of_another_seed_earn_nothing(
    task: str, lost: set[str], student: Student, tmp_path: Path
) -> None:
    assert failed(judged(task, student, tmp_path, expecting=SEED + 1)) == lost


def linked(path: Path) -> None:
    target = path.rename(path.with_name("elsewhere"))
    path.symlink_to(target)


DAMAGE: dict[str, Tamper] = {
    "missing": Path.unlink,
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "oversized": lambda path: os.truncate(path, 1 << 40),
    "pickled": lambda path: np.save(path, np.array([{"a": 1}], object), allow_pickle=True),
    "a link": linked,
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "another shape": lambda path: write_array(path, read_array(path)[:1]),
    "to be broadcast": lambda path: write_array(path, read_array(path)[..., :1]),
    "another dtype": lambda path: write_array(path, read_array(path).astype(np.float64)),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(
    ("task", "file"), [("3.1", "whole.npy"), ("3.1", "again.npy"), ("3.2", "batches.npy")]
)
def test_a_file_that_run_did_not_write_is_no_evidence(
    task: str, file: str, damage: str, student: Student, tmp_path: Path
) -> None:
    with pytest.raises(ExchangeError, match=file):
        judged(task, student, tmp_path, lambda made: DAMAGE[damage](made / file))


@pytest.mark.parametrize("damage", ["missing", "truncated", "oversized", "a link", "a pipe"])
def test_a_cache_that_is_not_as_it_was_given_costs_its_points(
    damage: str, student: Student, tmp_path: Path
) -> None:
    verdict = judged("3.2", student, tmp_path, lambda made: DAMAGE[damage](made / "written.cache"))
    assert failed(verdict) == {"the cache is written"}


@pytest.mark.parametrize(
    ("task", "old", "new"),
    [
        ("3.1", '"odd":""', f'"odd":"{lab3.ITEM}"'),
        ("3.1", '"lengths":[', '"lengths":[1'),
        ("3.2", '"batches":2', '"batches":3'),
        ("3.2", '"batches":2', '"batches":1000000000'),
        ("3.2", '"reported":"4"', f'"reported":"{"4" * 1000}"'),
    ],
)
def test_claims_that_the_arrays_do_not_bear_out_are_no_evidence(
    task: str, old: str, new: str, student: Student, tmp_path: Path
) -> None:
    def claim(made: Path) -> None:
        text = (made / OBSERVED).read_text()
        assert old in text
        (made / OBSERVED).write_text(text.replace(old, new))

    with pytest.raises(ExchangeError):
        judged(task, student, tmp_path, claim)


def test_one_image_for_all_is_not_all_of_them(student: Student, tmp_path: Path) -> None:
    def repeat(made: Path) -> None:
        whole = read_array(made / "whole.npy")
        write_array(made / "whole.npy", np.repeat(whole[:1], len(whole), axis=0))

    verdict = judged("3.1", student, tmp_path, repeat)
    assert failed(verdict) == {"all images of the folder, at most num_samples"}


# The student's code in its kernel


def test_what_is_written_to_fixed_names_does_no_harm(student: Student, tmp_path: Path) -> None:
    class Careless(student.names["Int8EntropyCalibrator"]):  # type: ignore[misc]
        def write_calibration_cache(self, cache: Any) -> None:
            Path("resnet50_calib.cache").write_bytes(cache)

    def wander(onnx_path: str, engine_path: str, calibrator: Any) -> None:
        Path("resnet50_int8.engine").write_bytes(b"")
        os.chdir("/")
        student.names["build_engine_int8"](onnx_path, engine_path, calibrator)

    changed = {"Int8EntropyCalibrator": Careless, "build_engine_int8": wander}
    names = student.names | changed
    before = {path.name: path.read_bytes() for path in student.folder.glob("*.*")}
    for task in ("3.2", "3.3"):
        judged(task, Student(names, student.folder, tmp_path / "answers"), tmp_path)
    assert {path.name: path.read_bytes() for path in student.folder.glob("*.*")} == before


@pytest.mark.parametrize("error", [SystemExit(3), RuntimeError("no"), MemoryError()])
@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("3.1", "CalibrationDataset"),
        ("3.2", "Int8EntropyCalibrator"),
        ("3.3", "build_engine_int8"),
    ],
)
def test_code_that_raises_gets_a_card_that_says_so(
    task: str, name: str, error: BaseException, student: Student, tmp_path: Path
) -> None:
    def fail(*arguments: Any, **named: Any) -> None:
        raise error

    failing = Student(student.names | {name: fail}, student.folder, tmp_path / "answers")
    verdict = judged(task, failing, tmp_path)
    assert verdict.points == 0
    assert type(error).__name__ in verdict.findings[0].measured


# The notebook's calibration folder


def claiming_to_be_huge() -> bytes:
    """Return the beginning of a PNG file of 60,000 x 60,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk


def test_only_images_that_are_there_count(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "calibration_images", tmp_path / "elsewhere"
    images: Any = load_workload().dataset("calibration", size=5)
    write_image_folder(images, load_workload().classes, folder)
    write_image_folder(images, load_workload().classes, elsewhere)
    a_class = next(path for path in folder.iterdir() if path.is_dir())
    linked_image = next(elsewhere.rglob("*.png"))
    (a_class / "linked.png").symlink_to(linked_image)
    (folder / "linked").symlink_to(linked_image.parent)
    (a_class / "text.png").write_text("no image")
    (a_class / "bomb.png").write_bytes(claiming_to_be_huge())
    Image.new("1", (3_000, 3_000)).save(a_class / "large.png")
    os.mkfifo(a_class / "pipe.png")
    assert lab3._source(folder) == {"written": 5, "from_validation": 0}

    link = tmp_path / "link"
    link.symlink_to(folder)
    for nothing in (link, tmp_path / "missing", a_class / "text.png"):
        assert lab3._source(nothing) == {"written": 0, "from_validation": 0}


def test_no_more_files_are_read_than_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab3, "MOST_FILES", 3)
    for index in range(5):
        Image.new("RGB", (2, 2)).save(tmp_path / f"{index}.png")
    assert lab3._source(tmp_path)["written"] == 3
