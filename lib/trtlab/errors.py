"""Every exception that trtlab raises on purpose, as one small tree.

    TrtLabError
    ├── BackendError          no usable TensorRT: version 11, or a forced backend that is missing
    ├── ModelError            an ONNX or weights file: missing, truncated, not what it claims to be
    ├── ExportError           PyTorch to ONNX failed, or the two disagree
    ├── BuildError            ONNX to engine failed: parser errors, memory, an impossible spec
    ├── EngineError           an engine file: missing, truncated, of another version, GPU or backend
    ├── CalibrationError      calibration data or the calibration run
    │   └── CacheError        the calibration cache file
    ├── InputError            arrays for an engine: shape, dtype, NaN, batch outside the profile
    ├── InferenceError        the engine could not run, or was used after close()
    ├── DataError             datasets, image files and folders
    ├── ResultsError          a results file: missing, not JSON, of another schema version
    └── OutputError           a file that could not be written: no space, read-only, no permission

A message says what was wrong, what was there, and what to do next. The command line prints it as
one line and exits with a non-zero status; a traceback there is a bug.

CourseFault stands apart: a TrtLabError about a student's file costs that student points, and this
must not.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class TrtLabError(Exception):
    """Base of all errors that trtlab raises on purpose."""


class BackendError(TrtLabError):
    """TensorRT is missing, unsupported, or not the one that was asked for."""


class ModelError(TrtLabError):
    """A model file is missing, truncated or not a model."""


class ExportError(TrtLabError):
    """PyTorch to ONNX failed, or the exported graph disagrees with PyTorch."""


class BuildError(TrtLabError):
    """ONNX to engine failed."""


class EngineError(TrtLabError):
    """An engine file cannot be used here."""


class CalibrationError(TrtLabError):
    """INT8 calibration could not run to its end on the data it was given."""


class CacheError(CalibrationError):
    """A calibration cache is unreadable, or of another version or algorithm."""


class InputError(TrtLabError):
    """An array does not fit the engine's input."""


class InferenceError(TrtLabError):
    """An engine could not run, or was used after it was closed."""


class DataError(TrtLabError):
    """A dataset, an image or an image folder cannot be used."""


class ResultsError(TrtLabError):
    """A results file cannot be read."""


class OutputError(TrtLabError):
    """A file could not be written; nothing half-written was left behind."""


class CourseFault(Exception):
    """What the course itself provides cannot be used; no student is to be judged by that."""


@contextmanager
def of_the_course(what: str) -> Iterator[None]:
    """Raise a TrtLabError of the block as a CourseFault.

    Args:
        what: what the block makes, opens or runs, which is none of a student's.
    """
    try:
        yield
    except TrtLabError as error:
        raise CourseFault(
            f"{what} is the course's own and cannot be used: {error} Nobody loses points by it; "
            "mend it, or remove the folder `provided` in the cache, and grade again."
        ) from error
