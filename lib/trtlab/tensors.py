"""What an engine takes and gives: names, dtypes and shapes, and whether an array fits them.

Only descriptions, checks and the splitting of batches; memory and execution are infer.py's.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trtlab.backend import trt
from trtlab.errors import InputError

Array = NDArray[Any]
Shape = tuple[int, ...]

_LARGE_BYTES = 4 << 20


class ProfileShapes(NamedTuple):
    """The shapes that one optimization profile accepts for an input, and what it is tuned for."""

    min: Shape
    opt: Shape
    max: Shape

    def accept(self, shape: Shape) -> bool:
        """Say whether every dimension of `shape` lies within min and max."""
        bounds = zip(self.min, shape, self.max, strict=True)
        return all(low <= size <= high for low, size, high in bounds)


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of an engine: name, dtype, and shape with -1 where it is dynamic.

    `profiles` holds an input's shapes per optimization profile; it is empty for outputs.
    """

    name: str
    dtype: np.dtype[Any]
    shape: Shape
    profiles: tuple[ProfileShapes, ...] = ()

    def __str__(self) -> str:
        dims = ", ".join("N" if size == -1 else str(size) for size in self.shape)
        return f"{self.dtype} ({dims})"


def tensor_specs(engine: Any) -> tuple[dict[str, TensorSpec], dict[str, TensorSpec]]:
    """Return the specs of an engine's inputs and outputs, by name."""
    inputs: dict[str, TensorSpec] = {}
    outputs: dict[str, TensorSpec] = {}
    for name in (engine.get_tensor_name(i) for i in range(engine.num_io_tensors)):
        dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
        shape = tuple(engine.get_tensor_shape(name))
        if engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT:
            outputs[name] = TensorSpec(name, dtype, shape)
            continue
        profiles = (
            ProfileShapes(*(tuple(dims) for dims in engine.get_tensor_profile_shape(name, index)))
            for index in range(engine.num_optimization_profiles)
        )
        inputs[name] = TensorSpec(name, dtype, shape, tuple(profiles))
    return inputs, outputs


def smallest_batch(inputs: Mapping[str, TensorSpec], profile: int) -> int:
    """Return the smallest batch that a profile accepts; 1 where the first input is a scalar.

    It is above 1 where the batch is fixed, or where the profile was built so.
    """
    smallest = next(iter(inputs.values())).profiles[profile].min
    return smallest[0] if smallest else 1


def in_chunks(
    predict: Callable[[Array], Array], smallest: int, largest: int | None
) -> Callable[[Array], Array]:
    """Return `predict`, which takes `smallest` to `largest` rows, as a function of any batch.

    None as `largest` is no limit. The batch (N, ...) is split; if too few rows are left for the
    last call, the last one is repeated, and what comes of the copies is left out.
    """

    def run(chunk: Array) -> Array:
        missing = smallest - len(chunk)
        if missing <= 0:
            return predict(chunk)
        answers = predict(np.concatenate([chunk, np.repeat(chunk[-1:], missing, axis=0)]))
        return answers[:-missing]  # not [:N]: a wrong number of answers must stay one

    def chunked(batch: Array) -> Array:
        size = largest or len(batch)
        starts = range(0, len(batch), size)
        return np.concatenate([run(batch[start : start + size]) for start in starts])

    return chunked


def only_input(inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec]) -> str:
    """Return the input's name; raise InputError unless there are one input and one output."""
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(
            f"The engine has the inputs {_listing(inputs)} and the outputs {_listing(outputs)}: "
            "pass a dict of arrays by input name."
        )
    return next(iter(inputs))


def require_names(feeds: Iterable[str], inputs: Mapping[str, TensorSpec]) -> None:
    """Raise InputError unless `feeds` names all inputs and nothing else."""
    given = list(feeds)
    missing = [name for name in inputs if name not in given]
    unknown = [name for name in given if name not in inputs]
    if missing or unknown:
        problems = [f"lacks {_listing(missing)}"] * bool(missing)
        problems += [f"does not know {_listing(unknown)}"] * bool(unknown)
        raise InputError(f"The engine {' and '.join(problems)}; its inputs are {_listing(inputs)}.")


def require_one_batch(shapes: Mapping[str, Shape], inputs: Mapping[str, TensorSpec]) -> None:
    """Refuse inputs of different batches, which crash TensorRT 8.6 where they must agree."""
    batches = {name: shape[0] for name, shape in shapes.items() if inputs[name].shape[:1] == (-1,)}
    if len(set(batches.values())) > 1:
        there = ", ".join(f"{name!r} has {batch}" for name, batch in batches.items())
        raise InputError(f"The inputs are of different batches: {there}. Pass one batch size.")


def _listing(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


def require_fit(array: Any, spec: TensorSpec, profile: int) -> None:
    """Raise InputError unless the engine can take `array` as the input `spec`."""
    name = spec.name
    if not isinstance(array, np.ndarray):
        raise InputError(
            f"Input {name!r} is a {type(array).__name__}, expected a NumPy array; for a PyTorch "
            "tensor pass tensor.cpu().numpy()."
        )
    if array.dtype != spec.dtype:
        raise InputError(
            f"Input {name!r} is {array.dtype}, expected {spec.dtype}: convert it with "
            f".astype(np.{spec.dtype}). Raw uint8 pixels need the model's preprocessing first."
        )
    if array.ndim != len(spec.shape) or any(
        fixed not in (-1, size) for size, fixed in zip(array.shape, spec.shape, strict=True)
    ):
        raise InputError(
            f"Input {name!r} has shape {array.shape}, expected {spec}. {_shape_advice(array, spec)}"
        )
    shapes = spec.profiles[profile]
    if not shapes.accept(array.shape):
        others = [i for i, other in enumerate(spec.profiles) if other.accept(array.shape)]
        advice = (
            f"Profile {others[0]} takes it: TensorRTInference(..., profile={others[0]})"
            if others
            else "Split or fill up the batch, or build an engine whose profile includes it"
        )
        raise InputError(
            f"Input {name!r} has shape {array.shape}, and profile {profile} takes {shapes.min} to "
            f"{shapes.max}. {advice}."
        )


def _shape_advice(array: Array, spec: TensorSpec) -> str:
    if array.ndim == len(spec.shape) - 1:
        return "A single image needs a leading dimension: image[np.newaxis]."
    if array.shape[1:] == spec.shape[1:]:
        return "The batch is fixed: split it or fill it up, or build an engine of a dynamic batch."
    return "Check the preprocessing, or that it is the engine of this model."


def require_finite(array: Array, name: str) -> None:
    """Raise InputError if a value of `array` is NaN or infinite.

    It takes about as long as copying the array, or less.
    """
    # A sum of squares is finite only if every value is, and BLAS adds it up twice as fast, on
    # several cores, which go on spinning for a while: not worth it for a small array. One that
    # overflows proves nothing.
    large = array.dtype == np.float32 and array.nbytes > _LARGE_BYTES
    if large and np.isfinite(np.vdot(array, array)):
        return
    finite = np.isfinite(array)
    if not finite.all():
        raise InputError(
            f"Input {name!r} holds {array.size - int(finite.sum())} values that are NaN or "
            "infinite. Check the preprocessing."
        )
