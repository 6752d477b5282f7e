"""Finds the range of every tensor for INT8: what TensorRT's calibration computes from the batches.

`collect_ranges` runs the FP32 network over the calibration batches. The helpers under it show the
entropy algorithm step by step; lab 03 plots them. Applying the ranges is the work of `lower`.

Source: S. Migacz, "8-bit Inference with TensorRT", GTC 2017. TensorRT's own implementation is not
public and differs in details, so its thresholds are close to these, not equal.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from trtlab.backend.emulated.fusion import float_tensors, fuse
from trtlab.backend.emulated.lower import make_session

BINS = 2048
"""Bins of the histogram of |x|."""

LEVELS = 128
"""Magnitudes that INT8 can tell apart: 0 to 127."""

_IMAGES_PER_RUN = 4  # all activations of so many images are in memory at once
_VALUES_PER_PASS = 1 << 16  # keeps the temporary arrays inside the processor's cache


@dataclass
class Histogram:
    """How often each magnitude of a tensor occurs.

    `counts` is (2048,) int64: bin i counts the values with i <= |x| / bin_width < i + 1. A
    `bin_width` of 0 means that only zeros have been seen.
    """

    counts: NDArray[np.int64]
    bin_width: float

    def add(self, values: NDArray[np.floating]) -> None:
        """Count more values.

        Where they exceed the last bin, the bins are merged in pairs and become twice as wide, as
        often as needed: no value that was counted before crosses an edge, and 2048 bins remain.

        Raises:
            ValueError: if there are no values, or one is NaN or infinite.
        """
        flat = np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
        largest = largest_magnitude(flat)
        # A little room, so that rounding cannot lift the largest value out of the last bin.
        needed = largest * (1 + 2**-20)
        if self.bin_width == 0 and largest > 0:
            # The floor keeps 1 / bin_width finite where all values are denormal.
            self.bin_width = max(needed / BINS, float(np.finfo(np.float32).tiny))
        while needed > self.bin_width * BINS:
            self.counts = np.pad(self.counts.reshape(-1, 2).sum(axis=1), (0, BINS // 2))
            self.bin_width *= 2
        if self.bin_width == 0:
            self.counts[0] += flat.size
            return
        bins_per_unit = np.float32(1 / self.bin_width)
        for start in range(0, flat.size, _VALUES_PER_PASS):
            position = np.abs(flat[start : start + _VALUES_PER_PASS])
            position *= bins_per_unit
            self.counts += np.bincount(position.astype(np.intp), minlength=BINS)


def histogram(values: NDArray[np.floating]) -> Histogram:
    """Return the histogram of |values|, of any shape; the last bin ends at the largest magnitude.

    Raises:
        ValueError: if there are no values, or one is NaN or infinite.
    """
    result = Histogram(np.zeros(BINS, dtype=np.int64), 0.0)
    result.add(values)
    return result


def largest_magnitude(values: NDArray[np.floating]) -> float:
    """Return max |x|, the range that min-max calibration chooses.

    Raises:
        ValueError: if there are no values, or one is NaN or infinite.
    """
    if values.size == 0:
        raise ValueError("it holds no values")
    largest = max(float(values.max()), -float(values.min()))
    if not np.isfinite(largest):
        raise ValueError("it holds NaN or infinite values")
    return abs(largest)


def clip_candidates(histogram: Histogram) -> NDArray[np.intp]:
    """Return the clips that entropy calibration tries, as numbers of bins that are kept.

    They run from 128 bins, which INT8 represents exactly, to the last bin that is not empty, which
    clips nothing. Times `bin_width` they are thresholds.

    Raises:
        ValueError: if the histogram counts nothing but zeros.
    """
    # Zeros fill bin 0 but are exact at any scale; with a zero width there is nothing else.
    used = np.flatnonzero(histogram.counts)
    if histogram.bin_width == 0 or used.size == 0:
        raise ValueError("it holds nothing but zeros")
    return np.arange(min(LEVELS, used[-1] + 1), used[-1] + 2)


def kl_curve(histogram: Histogram) -> NDArray[np.float64]:
    """Return KL(P || Q) in nats for each of `clip_candidates(histogram)`.

    For a candidate that keeps m bins, P is the first m bins with all counts beyond them added to
    the last: what clipping makes of the data. Q is the first m bins merged into 128 levels, each
    level spread evenly over those of its bins that P does not leave empty: what INT8 can tell of
    them. The divergence is infinite where P has mass at a level at which Q has none.

    Bin 0 counts as full as bin 1: exact zeros, half of what a ReLU puts out, survive any scale and
    would otherwise outweigh everything else. Source: `_compute_amax_entropy` in NVIDIA's
    pytorch-quantization.

    Raises:
        ValueError: if the histogram counts nothing but zeros.
    """
    kept = clip_candidates(histogram)[:, None]  # (M, 1)
    counts = histogram.counts[: int(kept[-1, 0])].astype(np.float64)  # (n,)
    counts[0] = counts[1] if len(counts) > 1 else counts[0]
    # With running sums every level of every candidate is one difference.
    mass = _running_sum(counts)  # (n + 1,)
    filled = _running_sum(counts > 0)
    entropy = _running_sum(_x_log_x(counts))

    edges = -(-np.arange(LEVELS + 1) * kept // LEVELS)  # (M, 129), rounded up
    level_mass = np.diff(mass[edges])  # (M, 128)
    level_bins = np.diff(filled[edges])
    outliers = mass[-1] - mass[kept]  # (M, 1)
    last_bin = counts[kept - 1]

    reference_mass = level_mass.copy()
    reference_mass[:, -1:] += outliers
    level_bins[:, -1:] += (last_bin == 0) & (outliers > 0)

    # KL(P || Q) = sum p log p - sum p log q, with p and q still in counts, then normalised.
    p_log_p = entropy[kept] - _x_log_x(last_bin) + _x_log_x(last_bin + outliers)  # (M, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_q = np.log(level_mass / level_bins)
        p_log_q = np.where(reference_mass > 0, reference_mass * log_q, 0).sum(axis=1, keepdims=True)
        divergence = (p_log_p - p_log_q) / mass[-1] + np.log(mass[kept] / mass[-1])
    return np.where(mass[kept] > 0, divergence, np.inf)[:, 0]  # (M,)


def entropy_threshold(histogram: Histogram) -> float:
    """Return the clip threshold that loses the least information, in the units of the tensor.

    Among equally good candidates it is the largest.

    Raises:
        ValueError: if the histogram counts nothing but zeros.
    """
    divergence = kl_curve(histogram)
    best = len(divergence) - 1 - int(np.argmin(divergence[::-1]))
    return float(clip_candidates(histogram)[best] * histogram.bin_width)


def collect_ranges(
    model: onnx.ModelProto,
    batches: Iterable[Mapping[str, NDArray[np.floating]]],
    algorithm: str = "entropy",
) -> dict[str, float]:
    """Return range r for each tensor at a layer's border: INT8 will represent [-r, r] as r/127 * q.

    Args:
        model: the network, run in FP32.
        batches: feeds for the network, input name -> (N, ...) float32; consumed once.
        algorithm: "entropy" (IInt8EntropyCalibrator2) or "minmax" (IInt8MinMaxCalibrator).

    Raises:
        ValueError: for an unknown algorithm, no batches, a batch without values, or a tensor that
            is NaN or infinite somewhere or zero everywhere; the message names the tensor.
    """
    if algorithm not in ("entropy", "minmax"):
        raise ValueError(f"Calibration algorithm {algorithm!r} is neither 'entropy' nor 'minmax'.")
    histograms: dict[str, Histogram] = {}
    largest: dict[str, float] = {}
    for name, values in _activations(model, batches):
        try:
            if algorithm == "minmax":
                largest[name] = max(largest.get(name, 0.0), largest_magnitude(values))
            elif name in histograms:
                histograms[name].add(values)
            else:
                histograms[name] = histogram(values)
        except ValueError as error:
            raise ValueError(f"Cannot calibrate tensor {name!r}: {error}.") from error
    if not histograms and not largest:
        raise ValueError("Cannot calibrate: there was not a single calibration batch.")
    ranges = largest
    for name, counted in histograms.items():
        ranges[name] = entropy_threshold(counted) if counted.bin_width else 0.0
    for name, value in ranges.items():
        if value == 0:
            raise ValueError(f"Cannot calibrate tensor {name!r}: it is zero on every batch.")
    return ranges


def _activations(
    model: onnx.ModelProto, batches: Iterable[Mapping[str, NDArray[np.floating]]]
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Run the batches and yield every border tensor of every run, a few images at a time."""
    floats = float_tensors(model)
    border = dict.fromkeys(
        name for layer in fuse(model) for name in (*layer.inputs, *layer.outputs) if name in floats
    )
    fed = [name for name in border if name in {value.name for value in model.graph.input}]
    computed = [name for name in border if name not in fed]

    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    del probed.graph.output[:]
    probed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in computed)
    session = make_session(probed.SerializeToString())
    for batch in batches:
        for feed in _split(model, batch):
            yield from ((name, feed[name]) for name in fed)
            yield from zip(computed, session.run(computed, feed), strict=True)


def _split(
    model: onnx.ModelProto, batch: Mapping[str, NDArray[np.floating]]
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Cut a batch into runs of a few images, where the network's batch dimension is dynamic."""
    feed = {name: np.ascontiguousarray(values, np.float32) for name, values in batch.items()}
    first_dims = [value.type.tensor_type.shape.dim[:1] for value in model.graph.input]
    sizes = {len(values) if values.ndim else 0 for values in feed.values()}
    if len(sizes) != 1 or 0 in sizes or any(not d or d[0].dim_value for d in first_dims):
        yield feed
        return
    for start in range(0, sizes.pop(), _IMAGES_PER_RUN):
        yield {name: values[start : start + _IMAGES_PER_RUN] for name, values in feed.items()}


def _running_sum(values: NDArray) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])


def _x_log_x(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return x * np.log(np.where(x > 0, x, 1))
