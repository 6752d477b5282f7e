"""What a student's kernel may see of what the course provides."""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import nbformat
import pytest

from trtlab.build import BuildSpec, Precision, ShapeProfile
from trtlab.lab.artifacts import MADE_IN, provided_folder
from trtlab.lab.recording import call_build, small_model
from trtlab.workloads import load_workload
from trtlab_grader import provisions as module
from trtlab_grader.course import LABS
from trtlab_grader.provisions import _NEEDED, provide, visible

SOLUTIONS = Path(__file__).parents[2] / "solutions"
FIXED, COURSE = ShapeProfile(min=1, opt=1, max=1), ShapeProfile(min=1, opt=8, max=32)


@pytest.mark.usefixtures("provisions")
@pytest.mark.parametrize("lab", range(1, 7))
def test_a_kernel_sees_nothing_that_its_own_lab_makes(lab: int) -> None:
    own = {name for name, made_in in MADE_IN.items() if made_in == LABS[lab - 1]}
    assert not {path.name for path in visible(lab)} & own


@pytest.mark.usefixtures("provisions")
def test_a_kernel_sees_what_its_lab_starts_from() -> None:
    names = {path.name for path in visible(2)}
    assert names >= {"resnet50_simplified.onnx", "resnet50_fp32.engine"}
    assert all(path.is_relative_to(provided_folder()) for path in visible(2))


def test_a_kernel_sees_weights_that_were_trained_on_the_spot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRTLAB_CACHE", str(tmp_path))
    weights = tmp_path / load_workload().name
    assert visible(1) == []
    weights.mkdir()
    assert visible(1) == [weights]


@pytest.mark.parametrize("lab", range(1, 7))
def test_all_that_a_notebook_asks_for_is_provided_before_it_runs(lab: int) -> None:
    name = LABS[lab - 1]
    notebook = nbformat.read(SOLUTIONS / name / f"{name}.ipynb", as_version=4)
    source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    asked = {text for text in MADE_IN if f'artifact("{text}")' in source}
    assert asked <= set(_NEEDED[lab])
    assert asked or lab == 1


@pytest.fixture
def builds(
    provisions: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[tuple[str, BuildSpec]]]:
    """Names of the ONNX files that are built in vain, for their kernels' times, and what for."""
    made: list[tuple[str, BuildSpec]] = []

    def build_engine(onnx: Path, engine: Path, spec: BuildSpec, timing_cache: Path) -> None:
        assert timing_cache.parent == provided_folder()
        assert provided_folder() not in engine.parents
        made.append((onnx.name, spec))

    monkeypatch.setattr(module, "IS_EMULATED", False)
    monkeypatch.setattr(module, "build_engine", build_engine)
    # The folder is other tests' as well.
    mark = f"timed-by-{os.getpid()}"
    monkeypatch.setattr(module, "_ALL_TIMED", mark)
    yield made
    (provided_folder() / mark).unlink()


def test_the_kernels_of_lab_2_are_timed_once(builds: list[tuple[str, BuildSpec]]) -> None:
    for lab in (*range(1, 7), 2):
        provide(lab, nullcontext())
    assert len(builds) == len(set(map(str, builds))) > 0


def test_all_that_lab_2_builds_is_timed_beforehand(
    builds: list[tuple[str, BuildSpec]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On either network, by the reference, and by who forgets the FP16 flag."""
    monkeypatch.chdir(tmp_path)
    module._time_kernels()
    timed = {(name, spec.precision, spec.profiles) for name, spec in builds}
    timed.add(("resnet50_simplified.onnx", Precision.FP16, (COURSE,)))  # by being provided
    for function in reference_functions().values():
        asked = call_build(function, "it", small_model().SerializeToString(), tmp_path / "e").asked
        assert asked.built
        assert asked.flags == ["FP16", "TF32"]
        (shapes,) = asked.shapes
        profile = ShapeProfile(min=shapes.min[0], opt=shapes.opt[0], max=shapes.max[0])
        for network in ("small.onnx", "resnet50_simplified.onnx"):
            assert (network, Precision.FP16, (profile,)) in timed
    for network in ("small.onnx", "resnet50_simplified.onnx"):
        assert (network, Precision.TF32, (FIXED,)) in timed


def reference_functions() -> dict[str, Any]:
    """Return the build functions of lab 2's reference notebook, by name."""
    notebook = nbformat.read(SOLUTIONS / "02-build" / "02-build.ipynb", as_version=4)
    names: dict[str, Any] = {}
    for cell in notebook.cells:
        if cell.id in ("setup", "task-2-1", "task-2-2"):
            exec(cell.source, names)
    return {name: names[name] for name in ("build_engine_fp16", "build_engine_dynamic")}
