"""Chooses the precision of every layer, as the builder flags and layer constraints ask.

TensorRT times the candidates and keeps the fastest. Lower precision is taken to be faster here, so
that the result does not depend on the machine: INT8 where a layer has it and its tensors have
ranges, else FP16, else FP32.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from trtlab.backend.emulated.config import IBuilderConfig
from trtlab.backend.emulated.fusion import INT8_KINDS, FusedLayer
from trtlab.backend.emulated.logger import Log
from trtlab.backend.emulated.network import INetworkDefinition
from trtlab.backend.emulated.types import BuilderFlag, DataType

_NAMES = {DataType.FLOAT: "FP32", DataType.HALF: "FP16", DataType.INT8: "INT8"}


class BuildFailure(Exception):
    """A build cannot go on; becomes an error in the log, in TensorRT's form."""

    def __init__(self, code: int, where: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code, self.where, self.hint = code, where, hint


def check_constraints(network: INetworkDefinition, config: IBuilderConfig) -> None:
    """Refuse a layer precision whose builder flag is not set.

    Raises:
        BuildFailure: as TensorRT does, whether or not the constraints would be obeyed.
    """
    flags = {DataType.HALF: BuilderFlag.FP16, DataType.INT8: BuilderFlag.INT8}
    for layer in network._layers:
        wanted = {*layer._output_types.values(), layer.precision}
        for dtype, flag in flags.items():
            if dtype in wanted and not config.get_flag(flag):
                raise BuildFailure(
                    4,
                    "network.cpp::validate",
                    f"{flag.name.lower()} precision has been set for a layer or layer output, but "
                    f"{flag.name.lower()} is not configured in the builder",
                    f"The layer is {layer.name!r}: config.set_flag(trt.BuilderFlag.{flag.name}).",
                )


def choose(
    layers: Sequence[FusedLayer],
    network: INetworkDefinition,
    config: IBuilderConfig,
    floats: Collection[str],
    ranges: Mapping[str, float],
    log: Log,
) -> list[FusedLayer]:
    """Return the layers with their precisions.

    `floats` are the float32 tensors, `ranges` the magnitudes that INT8 represents.

    Raises:
        BuildFailure: if OBEY_PRECISION_CONSTRAINTS is set and a constraint cannot be met.
    """
    wanted = _constraints(network, config, log)
    obey = config.get_flag(BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    chosen = []
    for layer in layers:
        tensors = [name for name in (*layer.inputs, *layer.outputs) if name in floats]
        possible = _possible(layer, tensors, config, ranges)
        constraint = next((wanted[name] for name in layer.node_names if name in wanted), None)
        if constraint in possible:
            precision = constraint
        elif constraint is not None and obey and tensors:
            raise BuildFailure(
                10,
                "optimizer.cpp::computeCosts",
                f"Could not find any implementation for node {layer.name}",
                f"OBEY_PRECISION_CONSTRAINTS asks for {constraint}; this layer can run in "
                f"{', '.join(possible)}. PREFER_PRECISION_CONSTRAINTS would fall back.",
            )
        else:
            precision = possible[0]
        chosen.append(replace(layer, precision=precision))
    return chosen


def _possible(
    layer: FusedLayer,
    tensors: Sequence[str],
    config: IBuilderConfig,
    ranges: Mapping[str, float],
) -> list[str]:
    """Return the precisions that a layer has, the fastest first."""
    possible = ["FP32"]
    if tensors and config.get_flag(BuilderFlag.FP16):
        possible.insert(0, "FP16")
    calibrated = all(name in ranges for name in tensors)
    if tensors and calibrated and layer.kind in INT8_KINDS and config.get_flag(BuilderFlag.INT8):
        possible.insert(0, "INT8")
    return possible


def _constraints(network: INetworkDefinition, config: IBuilderConfig, log: Log) -> dict[str, str]:
    """Return the precision that each constrained node asks for."""
    wanted = {
        layer.name: _NAMES.get(layer.precision, "FP32")
        for layer in network._layers
        if layer.precision_is_set
    }
    constrained = config.get_flag(BuilderFlag.OBEY_PRECISION_CONSTRAINTS) or config.get_flag(
        BuilderFlag.PREFER_PRECISION_CONSTRAINTS
    )
    if wanted and not constrained:
        log.warning(
            f"The precision of {len(wanted)} layers is set but not binding. Set "
            "BuilderFlag.OBEY_PRECISION_CONSTRAINTS or PREFER_PRECISION_CONSTRAINTS."
        )
        return {}
    return wanted
