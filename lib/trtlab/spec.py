"""What an engine is to be, as plain data: precision, optimization profiles, limits.

Validated when it is made, so that an impossible wish fails before a build has begun. Building from
it is build.py's.
"""

from enum import Enum

from pydantic import BaseModel, ConfigDict, model_validator

from trtlab.errors import BuildError


class Precision(str, Enum):
    """The arithmetic that TensorRT may choose from.

    FP32 is strict; TF32 lets FP32 layers round to 10 mantissa bits on Tensor Cores, which is
    TensorRT's default and PyTorch's for convolutions. FP16 and INT8 permit the lower precision
    where it is faster. INT8 permits FP16 beside it, or what has no INT8 kernel falls back to FP32.
    """

    FP32 = "fp32"
    TF32 = "tf32"
    FP16 = "fp16"
    INT8 = "int8"


_LAYER_PRECISIONS = {
    Precision.FP32: (Precision.FP32,),
    Precision.TF32: (Precision.FP32,),  # TF32 itself is a switch of the whole engine
    Precision.FP16: (Precision.FP16, Precision.FP32),
    Precision.INT8: (Precision.INT8, Precision.FP16, Precision.FP32),
}
"""Engine precision -> what single layers may be held to: a flag for one layer is one for all."""


def parse_precision(text: str) -> Precision:
    """Return the precision of a name such as 'fp16', in any case.

    Raises:
        BuildError: for any other text.
    """
    try:
        return Precision(text.lower())
    except ValueError:
        known = ", ".join(precision.value for precision in Precision)
        raise BuildError(f"There is no precision {text!r}; choose one of {known}.") from None


MAX_WORKSPACE_MIB = 2**44 - 1
"""TensorRT takes the workspace in bytes, as a number of 64 bits."""


class ShapeProfile(BaseModel):
    """The batch sizes of one optimization profile: accepted are min to max, tuned for is opt.

    The other dimensions come from the network's inputs.

    Raises:
        BuildError: unless 1 <= min <= opt <= max.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min: int
    opt: int
    max: int

    @model_validator(mode="after")
    def _ordered(self) -> "ShapeProfile":
        if not 1 <= self.min <= self.opt <= self.max:
            raise BuildError(
                f"A profile needs 1 <= min <= opt <= max, but min is {self.min}, opt {self.opt} "
                f"and max {self.max}."
            )
        return self

    def __str__(self) -> str:
        return f"{self.min}/{self.opt}/{self.max}"


class BuildSpec(BaseModel):
    """Everything that decides what `build_engine` makes of an ONNX file.

    Args:
        precision: of the whole engine.
        profiles: one or more batch ranges; () for a model whose batch is fixed.
        workspace_mib: most scratch memory in MiB that one layer may use. A tactic that needs more
            is not considered.
        layer_precisions: layer name or pattern as in a shell ("/layer4/*") -> precision that these
            layers must have, whatever is faster. Where several match, the last one counts.
        optimization_level: 0 (fastest build) to 5 (fastest engine); None is TensorRT's default, 3.

    Raises:
        BuildError: if a value is impossible.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    precision: Precision = Precision.FP16
    profiles: tuple[ShapeProfile, ...] = (ShapeProfile(min=1, opt=8, max=32),)
    workspace_mib: int = 2048
    layer_precisions: dict[str, Precision] = {}
    optimization_level: int | None = None

    @model_validator(mode="after")
    def _possible(self) -> "BuildSpec":
        if self.workspace_mib < 1:
            raise BuildError(f"workspace_mib is {self.workspace_mib}; give at least 1 MiB.")
        if self.workspace_mib > MAX_WORKSPACE_MIB:
            raise BuildError(
                f"workspace_mib is {self.workspace_mib}, and TensorRT takes at most "
                f"{MAX_WORKSPACE_MIB}; give no more MiB than the GPU has."
            )
        if self.optimization_level is not None and not 0 <= self.optimization_level <= 5:
            raise BuildError(
                f"optimization_level is {self.optimization_level}; it goes from 0 to 5."
            )
        for pattern, precision in self.layer_precisions.items():
            allowed = _LAYER_PRECISIONS[self.precision]
            if precision not in allowed:
                raise BuildError(
                    f"Layers {pattern!r} cannot be {precision.value} in an engine of precision "
                    f"{self.precision.value}, only {' or '.join(p.value for p in allowed)}: set "
                    "precision to the lowest, and name the layers to keep above it."
                )
        return self
