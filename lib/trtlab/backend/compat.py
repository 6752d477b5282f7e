"""The few places where TensorRT 8.6 and 10.x differ, each in one small function.

Every other TensorRT name in this project exists, with the same meaning, in both.
Functions take the `trt` module or one of its objects, so that they serve the emulation as well.
"""

from collections.abc import Callable
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


def reports_progress(config: Any) -> bool:
    """Say whether this TensorRT tells how far a build has come; 8.6 does not."""
    return hasattr(config, "progress_monitor")


def report_progress(
    trt: Any,
    config: Any,
    advance: Callable[[float], None],
    total: float,
    go_on: Callable[[], bool],
) -> None:
    """Have a build call `advance` in steps that add up to `total`, and stop once `go_on` is false.

    TensorRT nests phases: all steps of a phase together are one step of its parent.
    """

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.position = 0.0
            self.phases: dict[str, tuple[float, float]] = {}  # name -> start, length of one step

        def move_to(self, position: float) -> None:
            if position > self.position:  # phases may run side by side
                advance(position - self.position)
                self.position = position

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            length = self.phases[parent_phase][1] if parent_phase in self.phases else total
            self.phases[phase_name] = (self.position, length / max(num_steps, 1))

        def step_complete(self, phase_name: str, step: int) -> bool:
            start, length = self.phases[phase_name]
            self.move_to(min(start + (step + 1) * length, total))
            return go_on()

        def phase_finish(self, phase_name: str) -> None:
            self.phases.pop(phase_name, None)

    config.progress_monitor = Monitor()
