"""`artifact("resnet50_simplified.onnx")`: a deliverable of an earlier lab, or a provided one.

Each notebook stands alone. What a student made in an earlier lab is used; where it is missing or
unusable, the reference library makes one and says so.
"""

from collections.abc import Callable
from pathlib import Path

from IPython.display import display
from torch import nn

from trtlab import __version__
from trtlab.backend import NAME, trt
from trtlab.build import BuildSpec, Precision, ShapeProfile, build_engine
from trtlab.calibration_cache import CalibrationCache
from trtlab.data import cache_dir
from trtlab.engines import current_gpu, load_engine
from trtlab.errors import InputError, TrtLabError, of_the_course
from trtlab.export import batch_dimension, load_onnx
from trtlab.files import sha256
from trtlab.lab.provided_results import ENGINES, measure_provided
from trtlab.models import shipped_weights
from trtlab.pipeline import convert_to_onnx, fresh_calibration
from trtlab.results import read_results
from trtlab.workloads import Workload, load_workload

CALIBRATION_IMAGES = 96
CALIBRATION_BATCH = 32
TIMING_CACHE = "timing.cache"
"""Kernels that the builds of provided engines have timed, in their folder."""
MADE_IN = {
    "resnet50_simplified.onnx": "01-export",
    "resnet50_fp16.engine": "02-build",
    "resnet50_dynamic_fp16.engine": "02-build",
    "resnet50_int8.engine": "03-calibrate",
    "resnet50_calib.cache": "03-calibrate",
    "resnet50_fp32.engine": "",  # no lab makes it; lab 5 compares with it
    "results.json": "05-benchmark",
}
"""Deliverable -> the lab whose folder it is looked for in."""


def artifact(name: str) -> Path:
    """Return the path of a deliverable: yours, if an earlier lab left a usable one, else provided.

    Yours is looked for in the current folder and in the folder of the lab that makes it.

    Raises:
        InputError: if there is no such deliverable.
    """
    _require_known(name)
    if not MADE_IN[name]:
        return provided(name)
    for folder in (Path(), Path("..") / MADE_IN[name]):
        path = folder / name
        if path.is_file() and _usable(path):
            display(_Note(f"Using your own {name} ({path})."))
            return path
    path = provided(name)
    display(_Note(f"Using a provided {name}: no usable one of yours was found."))
    return path


def find_artifact(name: str, folder: Path) -> tuple[Path, bool]:
    """Return the path of a deliverable for whoever judges, and whether it is a provided one.

    The file is looked for and not opened: it may be hostile, and links are not followed.

    Args:
        name: a key of MADE_IN.
        folder: that of the lab that needs it; the other labs' folders are beside it.

    Raises:
        InputError: if there is no such deliverable.
    """
    _require_known(name)
    here = folder.absolute()
    for place in (here, here.parent / MADE_IN[name]):
        path = place / name
        if MADE_IN[name] and path.is_file() and not (path.is_symlink() or place.is_symlink()):
            return path, False
    return provided(name), True


def provided(name: str) -> Path:
    """Return the path of a deliverable made by the reference library, making it the first time.

    It is kept in the user's cache folder, for this machine's TensorRT and GPU.

    Raises:
        InputError: if there is no such deliverable.
        CourseFault: if it cannot be made.
    """
    _require_known(name)
    with of_the_course(f"The provided {name}"):
        folder = provided_folder()
        path = folder / name
        if not path.is_file():
            _MAKERS[name](folder)
    return path


def reference_model() -> tuple[Workload, nn.Module]:
    """Return the course's workload and its trained model.

    Raises:
        CourseFault: if there is none.
    """
    with of_the_course("The trained model"):
        workload = load_workload()
        return workload, workload.load_model()


class _Note:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _require_known(name: str) -> None:
    if name not in MADE_IN:
        raise InputError(f"There is no deliverable {name!r}; there are {', '.join(MADE_IN)}.")


def _usable(path: Path) -> bool:
    try:
        if path.suffix == ".onnx":
            return batch_dimension(load_onnx(path)) is None  # the labs' engines take 1 to 32
        if path.suffix == ".engine":
            load_engine(path)
        elif path.suffix == ".cache":
            CalibrationCache.read(path)
        elif path.suffix == ".json":
            return read_results(path).complete
    except TrtLabError:
        return False
    return True


def provided_folder() -> Path:
    """Return where provided deliverables of this machine's TensorRT and GPU are kept."""
    gpu = (current_gpu()[0] or "cpu").replace(" ", "-")
    workload = load_workload()
    # Other weights make another model, though everything else is the same.
    weights = sha256(shipped_weights("digits/resnet50-slim.safetensors"))[:8]
    key = f"{__version__}-{NAME}-{trt.__version__}-{gpu}-{workload.name}-{workload.arch}-{weights}"
    return cache_dir() / "provided" / key


def _make_onnx(folder: Path) -> None:
    workload, model = reference_model()
    convert_to_onnx(model, folder / "resnet50_simplified.onnx", input_shape=workload.input_shape)


def _engine_maker(name: str, precision: Precision) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        build_engine(
            provided("resnet50_simplified.onnx"),
            folder / name,
            BuildSpec(precision=precision, profiles=(ShapeProfile(min=1, opt=8, max=32),)),
            timing_cache=folder / TIMING_CACHE,
        )

    return make


def _make_int8(folder: Path) -> None:
    images = load_workload().dataset("calibration", size=CALIBRATION_IMAGES)
    cache = folder / "resnet50_calib.cache"
    with fresh_calibration("entropy", images, CALIBRATION_BATCH, cache) as calibrator:
        build_engine(
            provided("resnet50_simplified.onnx"),
            folder / "resnet50_int8.engine",
            BuildSpec(precision=Precision.INT8, profiles=(ShapeProfile(min=1, opt=8, max=32),)),
            calibrator=calibrator,
            timing_cache=folder / TIMING_CACHE,
        )


def _make_results(folder: Path) -> None:
    onnx, *engines = map(provided, ("resnet50_simplified.onnx", *ENGINES))
    measure_provided(engines, onnx, folder / "results.json")


_MAKERS: dict[str, Callable[[Path], None]] = {
    "resnet50_simplified.onnx": _make_onnx,
    "resnet50_fp32.engine": _engine_maker("resnet50_fp32.engine", Precision.FP32),
    "resnet50_fp16.engine": _engine_maker("resnet50_fp16.engine", Precision.FP16),
    "resnet50_dynamic_fp16.engine": _engine_maker("resnet50_dynamic_fp16.engine", Precision.FP16),
    "resnet50_int8.engine": _make_int8,
    "resnet50_calib.cache": _make_int8,
    "results.json": _make_results,
}
