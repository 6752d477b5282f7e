"""Lab 2's probes with their three steps apart, and attacks on what lies between them."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest

from labs.harness import solution_path
from labs.steps import contents, gave, inside, lost, ran, verdict_of
from trtlab.backend import IS_EMULATED
from trtlab.build import BuildSpec, ShapeProfile, build_engine
from trtlab.checks.evidence import Attempt
from trtlab.checks.evidence2 import Build
from trtlab.lab.exchange import ExchangeError, read_model, write_model
from trtlab.lab.onnx_facts import onnx_runner
from trtlab.lab.probe import OBSERVED, Observed
from trtlab.lab.probes.lab2 import (
    DYNAMIC_ENGINE,
    FAILED_BUILD,
    FP16_ENGINE,
    OTHER_MODEL,
    UNPARSABLE_MODEL,
    BuildObserved,
    Returned,
)
from trtlab.lab.recording import small_model

SEED, ANOTHER_SEED = 21, 22
TASKS = ("2.1", "2.2", "2.3", "2.4")
BUILDING = {"2.1": "build_engine_fp16", "2.2": "build_engine_dynamic"}
FULL = {"2.1": 5, "2.2": 5}
OF_OTHER_MODEL = {
    "2.1": {"it builds whatever ONNX file it is given": 0.5},
    "2.2": {"the profile's batches": 1.5},
}
"""What an engine of the small model that is not right costs."""
Names = dict[str, Any]

pytestmark = pytest.mark.usefixtures("provided_artifacts")


@pytest.fixture(scope="module")
def lab(provided_artifacts: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the reference notebook has left."""
    folder = tmp_path_factory.mktemp("class") / "02-build"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def names(lab: Path) -> Names:
    """What the reference notebook's cells have defined, and made in `lab`."""
    notebook = nbformat.read(solution_path(2), as_version=4)
    sources = {cell.id: cell.source for cell in notebook.cells}
    defined: Names = {}
    with inside(lab):
        for cell in ("setup", "task-2-1", "call-2-1", "task-2-2", "call-2-2"):
            exec(sources[cell], defined)
    return defined


@pytest.fixture
def made(names: Names, lab: Path, tmp_path: Path) -> Callable[..., Path]:
    """What a kernel leaves of a task: the reference's, or that of other functions."""

    def make(task: str, seed: int = SEED, **other: Any) -> Path:
        return ran(task, {**names, **other}, seed, tmp_path, lab)

    return make


# The steps


@pytest.mark.parametrize("task", TASKS)
def test_the_reference_loses_nothing_with_the_steps_apart(
    task: str, made: Callable[..., Path], lab: Path
) -> None:
    verdict = verdict_of(task, made(task), SEED, lab)
    assert lost(verdict) == {}
    if task in FULL:
        assert verdict.points == FULL[task]
    elif IS_EMULATED:
        assert verdict.state == "needs a GPU"


@pytest.mark.parametrize("task", BUILDING)
def test_the_models_to_build_follow_from_the_seed_alone(task: str, tmp_path: Path) -> None:
    one, again, other = (
        contents(gave(task, seed, tmp_path / name))
        for name, seed in {"one": SEED, "again": SEED, "other": ANOTHER_SEED}.items()
    )
    assert one == again
    assert one.keys() == other.keys()
    assert all(one[name] != other[name] for name in one)


def test_small_models_of_two_seeds_cannot_pass_for_each_other() -> None:
    images = np.random.default_rng(0).standard_normal((2, 3, 224, 224), np.float32)
    one, other = (onnx_runner(small_model(seed))(images) for seed in (SEED, ANOTHER_SEED))
    assert np.abs(one - other).max() > 0.5 * np.abs(one).max()


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "returned None"), (b"other", "other bytes"), ("x.engine", "not a serialized engine")],
)
def test_what_the_notebook_keeps_of_a_build_is_held_against_the_file(
    value: object, expected: str, made: Callable[..., Path], lab: Path
) -> None:
    verdict = verdict_of("2.1", made("2.1", engine_fp16=value), SEED, lab)
    assert len(lost(verdict)) == 1
    assert expected in verdict.findings[0].measured


def test_a_build_that_the_notebook_has_not_called_is_told_so(
    names: Names, lab: Path, tmp_path: Path
) -> None:
    without = {name: value for name, value in names.items() if name != "engine_fp16"}
    verdict = verdict_of("2.1", ran("2.1", without, SEED, tmp_path, lab), SEED, lab)
    assert "has not run" in verdict.findings[0].measured
    assert verdict.points == 4


# Attacks on what the kernel made


@pytest.mark.parametrize("task", BUILDING)
def test_an_engine_of_another_seeds_model_earns_nothing(
    task: str, made: Callable[..., Path], lab: Path
) -> None:
    assert lost(verdict_of(task, made(task, ANOTHER_SEED), SEED, lab)) == OF_OTHER_MODEL[task]


@pytest.mark.parametrize("task", BUILDING)
def test_a_canned_engine_earns_nothing_for_the_model_that_was_given(
    task: str, made: Callable[..., Path], lab: Path
) -> None:
    file = {"2.1": FP16_ENGINE, "2.2": DYNAMIC_ENGINE}[task]
    canned = (lab / file).read_bytes()

    def copies(onnx_path: str, engine_path: str) -> bytes:
        Path(engine_path).write_bytes(canned)
        return canned

    verdict = verdict_of(task, made(task, **{BUILDING[task]: copies}), SEED, lab)
    assert OF_OTHER_MODEL[task].items() <= lost(verdict).items()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def linked(path: Path) -> None:
    """Put a link in place of a file, to the very same file elsewhere."""
    path.rename(path.with_name("elsewhere.engine"))
    path.symlink_to("elsewhere.engine")


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def of_nan(path: Path) -> None:
    """Put an engine in its place whose weights, and so its answers, are NaN."""
    model = small_model(SEED)
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "fc.bias")
    bias.raw_data = np.full(10, np.nan, np.float32).tobytes()
    source = path.with_name("nan.onnx")
    source.write_bytes(model.SerializeToString())
    build_engine(source, path, BuildSpec(profiles=(ShapeProfile(min=1, opt=8, max=32),)))


FAKES = [truncated, linked, emptied, a_folder, of_nan, Path.unlink]


@pytest.mark.parametrize("task", BUILDING)
@pytest.mark.parametrize("fake", FAKES, ids=lambda fake: fake.__name__)
def test_a_faked_engine_of_the_small_model_earns_nothing(
    task: str, fake: Callable[[Path], None], made: Callable[..., Path], lab: Path
) -> None:
    folder = made(task)
    fake(folder / OTHER_MODEL.engine)
    assert lost(verdict_of(task, folder, SEED, lab)) == OF_OTHER_MODEL[task]


@pytest.mark.parametrize("call", [UNPARSABLE_MODEL, FAILED_BUILD])
def test_a_file_that_was_left_counts_whatever_the_kernel_says(
    call: Any, made: Callable[..., Path], lab: Path
) -> None:
    folder = made("2.1")
    (folder / call.engine).write_bytes(b"")
    verdict = verdict_of("2.1", folder, SEED, lab)
    assert list(lost(verdict).values()) == [0.5]
    assert "a file of 0 bytes" in next(f for f in verdict.findings if not f.points).measured


@pytest.mark.parametrize("task", BUILDING)
def test_saying_that_all_went_well_makes_no_engine(task: str, tmp_path: Path) -> None:
    done = Attempt(stage="done", what="f")
    fine = Build(attempt=done, made_engine=True, returned="a value", file_size=9, path_used=True)
    says = BuildObserved(
        attempt=done,
        returned=Returned(what="a plan", sha256="0" * 64),
        builds=(fine,) * (3 if task == "2.1" else 1),
    )
    folder, empty = tmp_path / "made", tmp_path / "02-build"
    folder.mkdir()
    empty.mkdir()
    write_model(folder / OBSERVED, says)
    verdict = verdict_of(task, folder, SEED, empty)
    assert verdict.points <= 0.5  # for a workspace limit that cannot be observed


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("how", ["missing", "a pickle", "a link", "too large"])
def test_an_unusable_answer_is_an_exchange_error(
    task: str, how: str, made: Callable[..., Path], lab: Path
) -> None:
    folder = made(task)
    path = folder / OBSERVED
    if how == "missing":
        path.unlink()
    elif how == "a pickle":
        path.write_bytes(b"\x80\x04K\x01.")
    elif how == "a link":
        linked(path)
    else:
        path.write_bytes(path.read_bytes() + b" " * (5 << 20))
    with pytest.raises(ExchangeError):
        verdict_of(task, folder, SEED, lab)


def test_builds_that_are_not_one_for_each_call_are_an_exchange_error(
    made: Callable[..., Path], lab: Path
) -> None:
    folder = made("2.1")
    observed = read_model(folder / OBSERVED, BuildObserved)
    observed.builds = observed.builds[:1]
    write_model(folder / OBSERVED, observed)
    with pytest.raises(ExchangeError, match="1 builds for 3 calls"):
        verdict_of("2.1", folder, SEED, lab)


@pytest.mark.parametrize("ending", [SystemExit, KeyError, RecursionError])
def test_functions_that_end_in_any_way_are_survived(
    ending: type[BaseException], made: Callable[..., Path], lab: Path
) -> None:
    def ends(onnx_path: str, engine_path: str) -> None:
        raise ending("bye")

    for task, function in BUILDING.items():
        verdict = verdict_of(task, made(task, **{function: ends}), SEED, lab)
        assert OF_OTHER_MODEL[task].items() <= lost(verdict).items()


# Attacks on the deliverables


def of_another_model(path: Path) -> None:
    """Put a tiny engine of the same inputs and outputs in its place: fast, small and wrong."""
    source = path.with_name("tiny.onnx")
    source.write_bytes(small_model().SerializeToString())
    build_engine(source, path, BuildSpec(profiles=(ShapeProfile(min=1, opt=8, max=32),)))


ANSWERS = {
    "2.1": {"right answers at batch 1": 1},
    "2.2": {
        "right answers at batch 1": 0.5,
        "right answers at batch 5": 0.5,
        "right answers at batch 32": 1,
    },
}


@pytest.mark.parametrize("fake", [*FAKES, of_another_model], ids=lambda fake: fake.__name__)
def test_a_faked_deliverable_earns_no_points_for_what_it_fakes(
    fake: Callable[[Path], None], lab: Path, tmp_path: Path
) -> None:
    work = shutil.copytree(lab, tmp_path / "02-build")
    for file in (FP16_ENGINE, DYNAMIC_ENGINE):
        fake(work / file)
    folder = tmp_path / "made"
    folder.mkdir()
    done = Attempt(stage="done", what="f")
    for task, answers in ANSWERS.items():
        builds = (Build(attempt=done),) * (3 if task == "2.1" else 1)
        write_model(folder / OBSERVED, BuildObserved(attempt=done, builds=builds))
        assert answers.items() <= lost(verdict_of(task, folder, SEED, work)).items()
    write_model(folder / OBSERVED, Observed(attempt=done))
    # Nothing here waits for a GPU: an engine that is wrong is neither fast nor small.
    assert list(lost(verdict_of("2.3", folder, SEED, work)).values()) == [6, 6]
    assert list(lost(verdict_of("2.4", folder, SEED, work)).values()) == [3]


def test_a_made_up_onnx_file_of_the_student_does_not_decide_what_is_right(
    made: Callable[..., Path], names: Mapping[str, Any], lab: Path, tmp_path: Path
) -> None:
    """An engine of it would be as fast and as small as anyone likes."""
    work = shutil.copytree(lab, tmp_path / "02-build")
    (tmp_path / "01-export").mkdir()
    own = tmp_path / "01-export" / "resnet50_simplified.onnx"
    own.write_bytes(small_model().SerializeToString())
    with inside(work):
        engine = names["build_engine_fp16"](str(own), FP16_ENGINE)
    verdict = verdict_of("2.1", made("2.1", engine_fp16=engine), SEED, work)
    assert lost(verdict) == ANSWERS["2.1"]
    assert lost(verdict_of("2.4", made("2.4"), SEED, work))
