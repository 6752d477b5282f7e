"""What the course provides for a lab, made before any student's code runs.

It is in the cache of whoever grades, which sandboxes may read and not change: a notebook that needs
what its student's earlier lab did not yield finds it there, and so does whoever judges.
"""

import functools
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

import onnx
from filelock import FileLock

from trtlab.backend import IS_EMULATED
from trtlab.build import BuildSpec, Precision, ShapeProfile, build_engine
from trtlab.data import cache_dir
from trtlab.lab.artifacts import MADE_IN, TIMING_CACHE, provided, provided_folder, reference_model
from trtlab.lab.recording import small_model
from trtlab.lab.subjects import COURSE
from trtlab.workloads import load_workload
from trtlab_grader.course import LABS

_ONNX, _FP32 = "resnet50_simplified.onnx", "resnet50_fp32.engine"
_FP16 = "resnet50_fp16.engine"
_DYNAMIC, _INT8, _CACHE = (
    "resnet50_dynamic_fp16.engine",
    "resnet50_int8.engine",
    "resnet50_calib.cache",
)
_NEEDED: dict[int, tuple[str, ...]] = {
    1: (),
    2: (_ONNX, _FP32, _DYNAMIC),
    3: (_ONNX, _FP32, _FP16, _INT8, _CACHE),
    4: (_ONNX, _DYNAMIC, _INT8),
    5: (_ONNX, _FP32, _DYNAMIC, _INT8),
    6: (_ONNX, _FP32, _DYNAMIC, _INT8, "results.json"),
}
"""Lab -> what its notebook, its probes and its builds' timings start from."""
_FIXED = ShapeProfile(min=1, opt=1, max=1)
_TIMED = ((Precision.FP16, _FIXED), (Precision.TF32, _FIXED))
"""What lab 2 builds beyond what is provided, and what it builds without its FP16 flag."""
_ALL_TIMED = "lab-2-kernels.timed"


def provide(lab: int, exclusive: AbstractContextManager[object]) -> Path:
    """Make what is missing of what a lab needs; return the folder that sandboxes have to see.

    Args:
        lab: its number.
        exclusive: held while engines are built, so that TensorRT times kernels undisturbed.
    """
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    _train_once(folder)
    if _missing(lab) or not _is_timed(lab):
        # One at a time, in whatever process: the others find it made.
        with FileLock(folder / "provided.lock"), exclusive:
            for name in _NEEDED[lab]:
                provided(name)
            if not _is_timed(lab):
                _time_kernels()
    return folder


def visible(lab: int) -> list[Path]:
    """Return what a student's kernel may see of what is provided: not what its lab is to make.

    Copied under a deliverable's name, that would be graded as the student's own.
    """
    folder = provided_folder()
    names = [name for name in _NEEDED[lab] if MADE_IN[name] != LABS[lab - 1]]
    shown = [folder / name for name in (*names, *(f"{name}.json" for name in names))]
    weights = cache_dir() / load_workload().name
    return [path for path in (*shown, folder / TIMING_CACHE, weights) if path.exists()]


@functools.cache
def _train_once(folder: Path) -> None:
    """Have the course's model trained and in the cache, where it is not one that is shipped."""
    with FileLock(folder / "provided.lock"):
        reference_model()


def timing_cache() -> Path | None:
    """Return the kernels' times that builds may start from; None on the emulation."""
    path = provided_folder() / TIMING_CACHE
    return path if path.is_file() and not IS_EMULATED else None


def _missing(lab: int) -> list[str]:
    return [name for name in _NEEDED[lab] if not (provided_folder() / name).is_file()]


def _is_timed(lab: int) -> bool:
    return IS_EMULATED or lab != 2 or (provided_folder() / _ALL_TIMED).is_file()


def _time_kernels() -> None:
    """Let the timing cache know the kernels of lab 2's builds, also of the probes' small network.

    Students who time the same kernels at once do so at each other's expense, and what is chosen
    then is not what is fastest.
    """
    folder = provided_folder()
    with tempfile.TemporaryDirectory(prefix="trtlab-") as name:
        small = Path(name) / "small.onnx"
        onnx.save(small_model(), small)
        # Of the course's network, the engine with the course's profile is provided.
        small_too = (*_TIMED, (Precision.FP16, COURSE.profile))
        for model, builds in ((provided(_ONNX), _TIMED), (small, small_too)):
            for precision, batches in builds:
                build_engine(
                    model,
                    Path(name) / "timed.engine",
                    BuildSpec(precision=precision, profiles=(batches,)),
                    timing_cache=folder / TIMING_CACHE,
                )
    (folder / _ALL_TIMED).touch()
