"""IOptimizationProfile: the range of shapes that an engine is built for."""

from typing import Any

from trtlab.backend.emulated.graph import Shape
from trtlab.backend.emulated.logger import Log
from trtlab.backend.emulated.pybind import expect
from trtlab.backend.emulated.types import Dims, _dims

Range = tuple[Shape, Shape, Shape]  # min, opt, max


class IOptimizationProfile:
    """Minimum, optimum and maximum shape of every dynamic input."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._ranges: dict[str, Range] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        """Set the shapes of an input; each dimension must satisfy 0 <= min <= opt <= max.

        Raises:
            RuntimeError: if they contradict each other.
        """
        expect(input, str, "input")
        shapes = {"min": tuple(_dims(min)), "opt": tuple(_dims(opt)), "max": tuple(_dims(max))}
        lower: Shape | None = None
        for which, shape in shapes.items():
            lowest = lower or (0,) * len(shape)
            if len(shape) != len(lowest) or any(
                size < bound for size, bound in zip(shape, lowest, strict=True)
            ):
                self._log.error(
                    3,
                    "optimizationProfile.cpp::setDimensions",
                    f"Parameter check failed, {which}={shape} of input {input!r}",
                    "Every dimension must satisfy 0 <= min <= opt <= max; give all of them.",
                )
                raise RuntimeError(f"Shape provided for {which} is inconsistent with other shapes.")
            lower = shape
        self._ranges[input] = (shapes["min"], shapes["opt"], shapes["max"])

    def get_shape(self, input: str) -> list[Dims]:
        """Return [min, opt, max] of an input, [] if it is not set."""
        return [Dims(shape) for shape in self._ranges.get(input, ())]

    def __bool__(self) -> bool:
        return True  # set_shape lets nothing inconsistent in


def problems(profile: dict[str, Range], inputs: dict[str, Shape], index: int) -> list[str]:
    """Return what keeps a profile from describing the inputs of a network, in words."""
    found = []
    for name, shape in inputs.items():
        if name not in profile:
            if -1 in shape:
                known = ", ".join(profile) or "none"
                found.append(
                    f"Dynamic input {name!r} {shape} is missing in optimization profile {index}, "
                    f"which has shapes for: {known}"
                )
            continue
        low, best, high = profile[name]
        if len(low) != len(shape):
            found.append(
                f"{name}: in profile {index} the rank {len(low)} does not match the network "
                f"definition's {len(shape)}, which is {shape}"
            )
            continue
        found.extend(
            f"{name}: for dimension number {axis} in profile {index} does not match network "
            f"definition (got min={a}, opt={b}, max={c}), expected min=opt=max={size})."
            for axis, (size, a, b, c) in enumerate(zip(shape, low, best, high, strict=True))
            if size != -1 and not a == b == c == size
        )
    return found


def complete(profile: dict[str, Range], inputs: dict[str, Shape]) -> dict[str, Range]:
    """Return the profile with the static inputs added, whose range is their shape."""
    return {name: profile.get(name, (shape, shape, shape)) for name, shape in inputs.items()}


def contains(bounds: Range, shape: Shape) -> bool:
    """Whether a shape lies between the minimum and the maximum."""
    low, _, high = bounds
    return len(shape) == len(low) and all(
        a <= size <= c for a, size, c in zip(low, shape, high, strict=True)
    )
