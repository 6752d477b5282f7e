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
"""


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
