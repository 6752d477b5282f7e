"""Which magnitudes INT8 represents, for each tensor: calibrated, or set by hand."""

from collections.abc import Collection, Mapping, Sequence

import onnx

from trtlab.backend.emulated import profile
from trtlab.backend.emulated.calibration import CalibrationFailed, calibrate
from trtlab.backend.emulated.config import IBuilderConfig
from trtlab.backend.emulated.fusion import FusedLayer
from trtlab.backend.emulated.graph import Shape
from trtlab.backend.emulated.logger import Log
from trtlab.backend.emulated.network import INetworkDefinition
from trtlab.backend.emulated.precision import BuildFailure
from trtlab.backend.emulated.types import BuilderFlag, DataType


def find(
    network: INetworkDefinition,
    config: IBuilderConfig,
    model: onnx.ModelProto,
    first_profile: Mapping[str, profile.Range],
    log: Log,
) -> dict[str, float]:
    """Return tensor -> range r, where INT8 represents [-r, r]; {} without BuilderFlag.INT8.

    A range that ITensor.set_dynamic_range set replaces the calibrated one.

    Raises:
        BuildFailure: if there is neither a calibrator nor a range, or the calibration fails.
    """
    if not config.get_flag(BuilderFlag.INT8):
        return {}
    # INT8 is symmetric: the larger bound counts.
    by_hand = {
        name: max(abs(bound) for bound in tensor.dynamic_range)
        for name, tensor in network._tensors.items()
        if tensor.dynamic_range
    }
    if config.int8_calibrator is not None:
        inputs = _calibration_shapes(network, config, first_profile, log)
        try:
            return {**calibrate(config.int8_calibrator, model, inputs, log), **by_hand}
        except CalibrationFailed as error:
            raise BuildFailure(
                4, "calibrator.cpp::calibrateEngine", str(error), error.hint
            ) from error
    log.warning(
        "Calibrator is not being used. Users must provide dynamic range for all tensors that are "
        "not Int32 or Bool."
    )
    if not by_hand:
        raise BuildFailure(
            4,
            "standardEngineBuilder.cpp::initCalibrationParams",
            "Calibration failure occurred with no scaling factors detected. This could be due to "
            "no int8 calibrator or insufficient custom scales for network layers. Please see int8 "
            "sample to setup calibration correctly.",
            "Set config.int8_calibrator.",
        )
    return by_hand


def warn_of_missing(
    layers: Sequence[FusedLayer], floats: Collection[str], ranges: Mapping[str, float], log: Log
) -> None:
    """Name the float tensors between layers that have no range."""
    for name in dict.fromkeys(n for layer in layers for n in (*layer.inputs, *layer.outputs)):
        if name in floats and name not in ranges:
            log.warning(
                f"Missing scale and zero-point for tensor {name}, expect fall back to non-int8 "
                "implementation for any layer consuming or producing given tensor"
            )


def _calibration_shapes(
    network: INetworkDefinition,
    config: IBuilderConfig,
    first_profile: Mapping[str, profile.Range],
    log: Log,
) -> dict[str, Shape]:
    """Return the shape of a calibration batch for each input: OPT of the calibration profile.

    Raises:
        BuildFailure: if an input is not float32.
    """
    chosen = dict(first_profile)
    if config._calibration_profile is not None:
        chosen.update(config._calibration_profile._ranges)
    elif config.num_optimization_profiles:
        log.warning("Calibration Profile is not defined. Calibrating with Profile 0")
    for name in first_profile:
        if (dtype := network._tensor(name).dtype) is not DataType.FLOAT:
            raise BuildFailure(
                4,
                "calibrator.cpp::calibrateEngine",
                f"the emulation calibrates float32 inputs only; {name} is {dtype.name}",
            )
    return {name: best for name, (_, best, _) in chosen.items() if name in first_profile}
