"""Lab 1's probes with their three steps apart, and attacks on what lies between them."""

import shutil
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import onnx
import pytest
from pydantic import BaseModel

from labs.harness import solution_path
from labs.steps import contents, gave, inside, lost, ran, verdict_of
from tiny import export_tiny
from trtlab.checks.evidence import Attempt
from trtlab.lab.exchange import ExchangeError, read_model, write_model
from trtlab.lab.onnx_facts import onnx_runner, torch_runner
from trtlab.lab.probe import OBSERVED, Observed
from trtlab.lab.probes.lab1 import EXPORT, GRAPHS, SimplifyObserved
from trtlab.lab.probes.lab1_models import (
    CONTRADICTORY,
    FOLDABLE,
    IMAGE,
    RANDOM,
    draw_export,
    draw_graphs,
    read_net,
    write_net,
)
from trtlab.workloads import load_workload

SEED, ANOTHER_SEED = 11, 12
FULL = {"1.1": 4, "1.2": 3}
ANY_MODEL = "it exports any model that it is given"
SMALLER = "constant parts of a graph are gone"
Names = dict[str, Any]


@pytest.fixture(scope="module")
def names() -> Names:
    """What the reference solution's cells define."""
    notebook = nbformat.read(solution_path(1), as_version=4)
    defined: Names = {}
    with warnings.catch_warnings():
        for cell in notebook.cells:
            if cell.id in ("setup", "task-1-1", "task-1-2") or cell.source.startswith("import "):
                exec(cell.source, defined)
    return defined


@pytest.fixture(scope="module")
def lab(names: Names, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lab's folder after the reference notebook's run."""
    folder = tmp_path_factory.mktemp("class") / "01-export"
    folder.mkdir()
    with inside(folder), redirect_stdout(StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names["export_model"](load_workload().load_model(), "resnet50.onnx")
        names["simplify_model"]("resnet50.onnx", "resnet50_simplified.onnx")
    return folder


@pytest.fixture
def made(names: Names, lab: Path, tmp_path: Path) -> Callable[..., Path]:
    """What a kernel leaves of a task: the reference's, or that of other functions."""

    def make(task: str, seed: int = SEED, **other: Any) -> Path:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ran(task, {**names, **other}, seed, tmp_path, lab)

    return make


# The steps


@pytest.mark.parametrize("task", FULL)
def test_the_reference_earns_its_points_with_the_steps_apart(
    task: str, made: Callable[..., Path], lab: Path
) -> None:
    verdict = verdict_of(task, made(task), SEED, lab)
    assert (verdict.points, lost(verdict)) == (FULL[task], {})


@pytest.mark.parametrize("task", FULL)
def test_inputs_follow_from_the_seed_alone(task: str, tmp_path: Path) -> None:
    one, again, other = (
        contents(gave(task, seed, tmp_path / name))
        for name, seed in {"one": SEED, "again": SEED, "other": ANOTHER_SEED}.items()
    )
    assert one == again
    assert one.keys() == other.keys()
    assert one != other


def test_what_is_to_be_exported_differs_from_the_notebooks_values() -> None:
    calls = [draw_export(seed)[1] for seed in range(20)]
    assert len(set(calls)) > 10
    assert all(call.opset != 17 and call.input_shape != IMAGE for call in calls)


def test_which_graph_must_be_refused_cannot_be_told_from_its_place() -> None:
    orders = {tuple(draw_graphs(seed)[1]) for seed in range(12)}
    assert len(orders) > 3


def test_a_network_that_was_written_and_read_is_the_same(tmp_path: Path) -> None:
    net, _ = draw_export(SEED)
    write_net(tmp_path, net)
    images = np.random.default_rng(0).standard_normal((2, 3, 40, 44), np.float32)
    first, again = torch_runner(net)(images), torch_runner(read_net(tmp_path))(images)
    assert np.array_equal(first, again)
    other, _ = draw_export(ANOTHER_SEED)
    assert np.abs(first - torch_runner(other)(images)).max() > 0.01


@pytest.mark.parametrize("seed", range(3))
def test_the_graphs_are_what_they_claim_to_be(seed: int, tmp_path: Path) -> None:
    net, graphs = draw_graphs(seed)
    images = np.ones((2, *IMAGE), np.float32)
    onnx.checker.check_model(graphs[FOLDABLE], full_check=True)
    answers = onnx_runner(graphs[FOLDABLE])(images)
    assert answers == pytest.approx(torch_runner(net)(images), abs=1e-4)

    onnx.checker.check_model(graphs[RANDOM], full_check=True)
    run = onnx_runner(graphs[RANDOM])
    assert not np.array_equal(run(images), run(images))

    onnx.checker.check_model(graphs[CONTRADICTORY])
    with pytest.raises(onnx.shape_inference.InferenceError, match=r"\(3\) vs \(\d\)"):
        onnx.checker.check_model(graphs[CONTRADICTORY], full_check=True)


# Attacks


def file_of(kind: str, seed: int = SEED) -> str:
    return dict(zip(draw_graphs(seed)[1], GRAPHS, strict=True))[kind]


def test_answers_to_other_inputs_earn_nothing(made: Callable[..., Path], lab: Path) -> None:
    exported = verdict_of("1.1", made("1.1", ANOTHER_SEED), SEED, lab)
    assert lost(exported) == {ANY_MODEL: 0.5}
    simplified = verdict_of("1.2", made("1.2", ANOTHER_SEED), SEED, lab)
    assert SMALLER in lost(simplified)


def test_a_network_of_other_weights_is_not_the_one_that_was_given(
    made: Callable[..., Path], names: Names, lab: Path
) -> None:
    def exports_its_own(model: Any, path: str, input_shape: Any, opset: int) -> None:
        names["export_model"](draw_export(ANOTHER_SEED)[0], path, input_shape, opset)

    verdict = verdict_of("1.1", made("1.1", export_model=exports_its_own), SEED, lab)
    assert lost(verdict) == {ANY_MODEL: 0.5}
    assert "not that model's" in verdict.findings[-1].measured


def with_nan(path: Path) -> None:
    """Give every output of an ONNX file the value NaN."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = np.full(tuple(tensor.dims), np.nan, np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(model, path)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def linked(path: Path) -> None:
    """Put a link in place of a file, to the very same file elsewhere."""
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def of_another_shape(path: Path) -> None:
    shutil.copy(export_tiny(path.parent), path)


FAKES = [with_nan, truncated, linked, a_folder, of_another_shape, Path.unlink]


@pytest.mark.parametrize("fake", FAKES, ids=lambda fake: fake.__name__)
def test_a_faked_export_of_the_network_earns_nothing(
    fake: Callable[[Path], None], made: Callable[..., Path], lab: Path
) -> None:
    folder = made("1.1")
    fake(folder / EXPORT)
    assert lost(verdict_of("1.1", folder, SEED, lab)) == {ANY_MODEL: 0.5}


@pytest.mark.parametrize("fake", FAKES, ids=lambda fake: fake.__name__)
def test_a_faked_simplification_earns_nothing(
    fake: Callable[[Path], None], made: Callable[..., Path], lab: Path
) -> None:
    folder = made("1.2")
    fake(folder / file_of(FOLDABLE))
    assert lost(verdict_of("1.2", folder, SEED, lab)).keys() == {SMALLER}


@pytest.mark.parametrize("fake", FAKES, ids=lambda fake: fake.__name__)
def test_a_faked_deliverable_earns_no_points_for_what_it_fakes(
    fake: Callable[[Path], None], made: Callable[..., Path], lab: Path, tmp_path: Path
) -> None:
    work = shutil.copytree(lab, tmp_path / "01-export")
    fake(work / "resnet50.onnx")
    verdict = verdict_of("1.1", made("1.1"), SEED, work)
    assert lost(verdict).get("the outputs are PyTorch's") or verdict.points == 0.5

    work = shutil.copytree(lab, tmp_path / "01-again")
    fake(work / "resnet50_simplified.onnx")
    verdict = verdict_of("1.2", made("1.2"), SEED, work)
    assert "it computes what it computed before" in lost(verdict)


@pytest.mark.parametrize("kind", [RANDOM, CONTRADICTORY])
def test_who_says_that_it_refused_and_left_a_file_did_not_refuse(
    kind: str, made: Callable[..., Path], lab: Path
) -> None:
    folder = made("1.2")
    (folder / file_of(kind)).symlink_to("nowhere")
    assert len(lost(verdict_of("1.2", folder, SEED, lab))) == 1


def test_refusing_every_graph_earns_what_refusing_two_does(
    made: Callable[..., Path], lab: Path
) -> None:
    def refuses(onnx_path: str, simplified_path: str) -> None:
        raise RuntimeError("no")

    verdict = verdict_of("1.2", made("1.2", simplify_model=refuses), SEED, lab)
    assert lost(verdict) == {SMALLER: 0.5}


class Wrong(BaseModel):
    attempt: Attempt = Attempt(stage="done", what="f")
    points: float = 4


@pytest.mark.parametrize("task", FULL)
@pytest.mark.parametrize("how", ["missing", "no JSON", "more fields", "a link", "too large"])
def test_an_unusable_answer_is_an_exchange_error(
    task: str, how: str, made: Callable[..., Path], lab: Path
) -> None:
    folder = made(task)
    path = folder / OBSERVED
    if how == "missing":
        path.unlink()
    elif how == "no JSON":
        path.write_bytes(b"\x80\x04K\x01.")  # a pickle
    elif how == "more fields":
        write_model(path, Wrong())
    elif how == "a link":
        linked(path)
    else:
        path.write_bytes(path.read_bytes() + b" " * (5 << 20))
    with pytest.raises(ExchangeError):
        verdict_of(task, folder, SEED, lab)


def test_attempts_that_are_not_one_for_each_graph_are_an_exchange_error(
    made: Callable[..., Path], lab: Path
) -> None:
    folder = made("1.2")
    observed = read_model(folder / OBSERVED, SimplifyObserved)
    observed.attempts = observed.attempts[:2]
    write_model(folder / OBSERVED, observed)
    with pytest.raises(ExchangeError, match="2 attempts at 3 graphs"):
        verdict_of("1.2", folder, SEED, lab)


@pytest.mark.parametrize("task", FULL)
def test_saying_that_all_went_well_earns_nothing_by_itself(task: str, tmp_path: Path) -> None:
    done = Attempt(stage="done", what="f")
    folder, empty = tmp_path / "made", tmp_path / "01-export"
    folder.mkdir()
    empty.mkdir()
    says = Observed(attempt=done)
    if task == "1.2":
        says = SimplifyObserved(attempt=done, attempts=(done,) * 3)
    write_model(folder / OBSERVED, says)
    assert verdict_of(task, folder, SEED, empty).points == 0


@pytest.mark.parametrize("ending", [SystemExit, KeyError, RecursionError])
def test_functions_that_end_in_any_way_are_survived(
    ending: type[BaseException], made: Callable[..., Path], lab: Path
) -> None:
    def ends(*arguments: object, **named: object) -> None:
        raise ending("bye")

    for task in FULL:
        verdict = verdict_of(task, made(task, export_model=ends, simplify_model=ends), SEED, lab)
        assert lost(verdict).keys() <= {ANY_MODEL, SMALLER}
        assert lost(verdict)
