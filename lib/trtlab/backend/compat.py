"""The few places where TensorRT 8.6 and 10.x differ, each in one small function.

Every other TensorRT name in this project exists, with the same meaning, in both.
Functions take the `trt` module or one of its objects, so that they serve the emulation as well.
"""

from typing import Any

from trtlab.errors import BackendError


def version_tuple(version: str) -> tuple[int, int]:
    """Return (major, minor) of a version such as '8.6.1' or '10.16.1.11'."""
    major, minor = version.split("+")[0].split(".")[:2]
    return int(major), int(minor)


def require_supported(version: str) -> None:
    """Raise BackendError unless the TensorRT version is 8.6 or 10.x."""
    found = version_tuple(version)
    if found[0] >= 11:
        raise BackendError(
            f"TensorRT {version} is installed, but 11 removed the FP16 and INT8 builder flags and "
            "the calibrators that this course teaches. Install TensorRT 10: "
            "pip install -r requirements-gpu.lock"
        )
    if found < (8, 6):
        raise BackendError(
            f"TensorRT {version} is installed; 8.6 is the oldest that has the named-tensor API. "
            "Install TensorRT 10: pip install -r requirements-gpu.lock"
        )


def explicit_batch_flags(trt: Any) -> int:
    """Return the flags for Builder.create_network.

    8.6 needs EXPLICIT_BATCH for ONNX models; 10 has only that mode, deprecates the flag and warns.
    """
    if version_tuple(trt.__version__)[0] >= 10:
        return 0
    return int(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))


def device_memory_bytes(engine: Any) -> int:
    """Return the activation memory in bytes that one execution context of `engine` needs."""
    if hasattr(engine, "device_memory_size_v2"):  # 10.1 and later; the plain name overflowed there
        return int(engine.device_memory_size_v2)
    return int(engine.device_memory_size)


def share_profiles(trt: Any, config: Any) -> None:
    """Let several contexts use one optimization profile, as 10.x does without being asked.

    On 8.6 two contexts of one dynamic engine otherwise need a profile each.
    """
    if version_tuple(trt.__version__)[0] < 10:
        config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)
