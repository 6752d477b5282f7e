"""What the course itself provides and cannot be used is raised, and never judged as a student's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trtlab.errors import CourseFault, EngineError, ModelError, TrtLabError, of_the_course
from trtlab.lab import artifacts, subjects
from trtlab.lab.bench import LocalBench
from trtlab.lab.bench_server import BenchServer
from trtlab.lab.probe import Scene, evidence_of, run_probe
from trtlab.lab.probes import lab3_engine, lab6
from trtlab.lab.probes.lab2_engines import engine_facts
from trtlab.lab.subjects import COURSE

IMAGES = np.zeros((2, 3, 224, 224), np.float32)


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is nothing, which stands for everything that is provided."""
    path = tmp_path / "broken"
    path.write_bytes(b"nothing")
    for module in (artifacts, subjects, lab3_engine, lab6):
        monkeypatch.setattr(module, "provided", lambda name: path)
    return path


def raising(*_: Any) -> Any:
    raise ModelError("there are no weights")


def test_a_fault_is_no_error_of_the_library() -> None:
    said = pytest.raises(CourseFault, match=r"The engine is the course's own.*it is too old")
    with said, of_the_course("The engine"):
        raise EngineError("it is too old")
    assert not issubclass(CourseFault, TrtLabError)


def test_other_exceptions_stay_what_they_are() -> None:
    with pytest.raises(ZeroDivisionError), of_the_course("The engine"):
        raise ZeroDivisionError


def test_the_provided_engine_of_lab_4(broken: Path) -> None:
    with pytest.raises(CourseFault, match=r"The provided resnet50_dynamic_fp16\.engine"):
        COURSE.logits(0, IMAGES, LocalBench())


def test_the_provided_results_of_lab_6(broken: Path, tmp_path: Path) -> None:
    lab, made = tmp_path / "06-report", tmp_path / "made"
    lab.mkdir()
    run_probe("6.2", {}, tmp_path, made)
    with pytest.raises(CourseFault, match=r"The provided results\.json"):
        evidence_of("6.2", Scene(tmp_path, made, 0, lab, LocalBench()))


def test_the_provided_model_of_lab_3(broken: Path, small_engine: Path, tmp_path: Path) -> None:
    lab, made = tmp_path / "03-calibrate", tmp_path / "made"
    lab.mkdir()
    (lab / lab3_engine.ENGINE).write_bytes(small_engine.read_bytes())
    run_probe("3.5", {}, tmp_path, made)
    with pytest.raises(CourseFault, match=r"The provided resnet50_simplified\.onnx"):
        evidence_of("3.5", Scene(tmp_path, made, 0, lab, LocalBench()))


def test_a_model_that_engines_are_compared_with(small_engine: Path) -> None:
    with pytest.raises(CourseFault, match="compared with"):
        engine_facts(LocalBench(), small_engine, (1,), IMAGES, raising)


def test_a_deliverable_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTLAB_CACHE", str(tmp_path))
    monkeypatch.setitem(artifacts._MAKERS, "resnet50_int8.engine", raising)
    with pytest.raises(CourseFault, match=r"The provided resnet50_int8\.engine"):
        artifacts.provided("resnet50_int8.engine")


def test_a_bench_server_says_so_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def speedup(**_: Any) -> Any:
        raise CourseFault("there is no model")

    server = BenchServer()
    monkeypatch.setattr(server, "do_line_up", speedup)
    said = server.answer({"do": "line_up", "engine": "an.engine", "batch": 1})
    assert said == {"error": "CourseFault", "message": "there is no model"}
    assert server.answer({"do": "dismiss"}) == {"value": None}


def test_a_students_own_file_is_judged_all_the_same(tmp_path: Path) -> None:
    # The counterpart: nothing of the course's is at fault here.
    engine = tmp_path / "resnet50_fp16.engine"
    engine.write_bytes(b"nothing")
    facts = engine_facts(LocalBench(), engine, (1,), IMAGES, raising)
    assert facts.load_error
