"""Lab 4's probes with their three steps apart, on a small engine in place of the course's."""

import math
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pytest

from labs.harness import solution_path
from trtlab.backend import cuda, trt
from trtlab.build import BuildSpec, build_engine
from trtlab.checks.registry import judge
from trtlab.lab import subjects
from trtlab.lab.bench import LocalBench
from trtlab.lab.probe import Scene, evidence_of, probe_of, run_probe
from trtlab.lab.subjects import COURSE

TASKS = {"4.1": 4, "4.2": 2, "4.3": 1}
SEED, ANOTHER_SEED = 11, 12


@pytest.fixture(scope="module", autouse=True)
def small_course_engine(small_onnx, tmp_path_factory):
    """A small engine in place of the provided ResNet-50: these tests run some dozens of calls."""
    engine = tmp_path_factory.mktemp("course") / "small.engine"
    build_engine(small_onnx, engine, BuildSpec(profiles=(COURSE.profile,)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subjects, "provided", {subjects.COURSE_ENGINE: engine}.__getitem__)
        yield


def reference_class():
    """Return what the solution notebook's cell defines, in names of its own."""
    notebook = nbformat.read(solution_path(4), as_version=4)
    (cell,) = (c for c in notebook.cells if c.source.startswith("class TensorRTInference"))
    names = {
        "math": math,
        "Path": Path,
        "np": np,
        "trt": trt,
        "cuda": cuda,
        "TRT_LOGGER": trt.Logger(trt.Logger.WARNING),
    }
    exec(cell.source, names)
    return names["TensorRTInference"]


Reference = reference_class()


def scene_after(task, student, folder, seed=SEED):
    """Give, run and hand back in folders of their own, as between a grader and a sandbox."""
    trusted, sandbox = folder / "trusted", folder / "sandbox"
    for path in (trusted / "given", sandbox / "made"):
        path.mkdir(parents=True)
    probe_of(task).give(trusted / "given", seed)
    shutil.copytree(trusted / "given", sandbox / "given")
    names = {"TensorRTInference": student}
    run_probe(task, names, sandbox / "given", sandbox / "made")
    shutil.copytree(sandbox / "made", trusted / "made")
    shutil.rmtree(sandbox)
    return Scene(trusted / "given", trusted / "made", seed, Path(), LocalBench())


def evidence_on(task, student, folder):
    return evidence_of(task, scene_after(task, student, folder))


def points(task, scene):
    return judge(task, evidence_of(task, scene)).points
