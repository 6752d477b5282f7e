"""Ranges for INT8, against brute force, NumPy and ONNX Runtime's calibrator."""

import math

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy
from onnx import numpy_helper
from onnxruntime.quantization.calibrate import HistogramCollector

from trtlab.backend.emulated.quantize import (
    BINS,
    Histogram,
    clip_candidates,
    collect_ranges,
    entropy_threshold,
    histogram,
    kl_curve,
)


def normal(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


def kl_by_loops(counts: list[int], kept: int) -> float:
    """Migacz's pseudo-code, slide 39 and on, word by word; bin 0 counts as full as bin 1."""
    bins = [counts[1], *counts[1:]]
    outliers = sum(bins[kept:])
    reference = [float(count) for count in bins[:kept]]
    reference[kept - 1] += outliers
    candidate = [0.0] * kept
    for level in range(128):
        members = [b for b in range(kept) if b * 128 // kept == level]
        filled = [b for b in members if reference[b] > 0]
        for b in filled:
            candidate[b] = sum(bins[member] for member in members) / len(filled)
    total, candidate_total = sum(reference), sum(candidate)
    divergence = 0.0
    for p, q in zip(reference, candidate, strict=True):
        if p > 0 and q == 0:
            return math.inf
        if p > 0:
            divergence += p / total * math.log((p / total) / (q / candidate_total))
    return divergence


class TestHistogram:
    def test_it_agrees_with_numpy(self):
        values = normal(20_000)
        ours = histogram(values)
        expected, edges = np.histogram(np.abs(values), bins=BINS, range=(0, np.abs(values).max()))
        assert ours.bin_width == pytest.approx(edges[1])
        # A value on an edge may fall on either side: float32 here, float64 there.
        assert np.abs(np.cumsum(ours.counts) - np.cumsum(expected)).max() <= 2

    def test_the_largest_magnitude_is_in_the_last_bin(self):
        counts = histogram(np.array([1.001, -4.0])).counts
        assert np.flatnonzero(counts).tolist() == [BINS // 4, BINS - 1]

    def test_bins_double_when_a_later_batch_exceeds_them(self):
        counted = histogram(np.array([1.0]))
        counted.add(np.array([-3.001]))
        assert counted.bin_width == pytest.approx(4 / BINS)
        assert np.flatnonzero(counted.counts).tolist() == [BINS // 4 - 1, 3 * BINS // 4]

    def test_zeros_before_the_first_other_value_are_counted(self):
        counted = histogram(np.zeros(5))
        counted.add(np.array([2.0, 0.0]))
        assert counted.counts[0] == 6
        assert counted.counts[-1] == 1

    @given(
        st.lists(
            hypothesis_numpy.arrays(
                np.float32,
                st.integers(1, 30),
                elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
            ),
            min_size=1,
            max_size=6,
        )
    )
    def test_adding_in_pieces_is_counting_at_once_with_the_final_width(self, pieces):
        counted = histogram(pieces[0])
        for piece in pieces[1:]:
            counted.add(piece)
        whole = Histogram(np.zeros(BINS, np.int64), counted.bin_width)
        whole.add(np.concatenate(pieces))
        assert whole.bin_width == counted.bin_width
        np.testing.assert_array_equal(counted.counts, whole.counts)

    def test_denormal_values_are_counted(self):
        counted = histogram(np.array([1e-40, -2e-41, 0.0]))
        assert counted.counts.sum() == 3
        assert 1e-40 <= entropy_threshold(counted) < 2e-38

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_values_that_are_not_finite_are_refused(self, bad):
        with pytest.raises(ValueError, match="NaN or infinite"):
            histogram(np.array([1.0, bad]))

    def test_no_values_are_refused(self):
        with pytest.raises(ValueError, match="no values"):
            histogram(np.zeros((0, 3)))


class TestEntropy:
    @pytest.mark.parametrize(
        "values",
        [
            normal(3000),  # sparse: empty bins inside
            np.maximum(normal(200_000), 0),  # half of it zero, as behind a ReLU
            np.concatenate([normal(50_000), [25.0, 30.0]]),
            np.arange(-500, 500, dtype=np.float32),
        ],
        ids=["sparse", "relu", "outliers", "uniform"],
    )
    def test_the_curve_agrees_with_loops(self, values):
        counted = histogram(values)
        candidates, curve = clip_candidates(counted), kl_curve(counted)
        assert len(candidates) == len(curve) == BINS - 127
        for i in (0, 1, 2, 127, 128, 500, 1023, len(curve) - 2, len(curve) - 1):
            expected = kl_by_loops(counted.counts.tolist(), int(candidates[i]))
            assert curve[i] == pytest.approx(expected, abs=1e-9)

    @given(st.lists(st.integers(0, 50), min_size=2, max_size=400).filter(lambda c: any(c[1:])))
    def test_the_curve_agrees_with_loops_for_any_counts(self, counts):
        counted = Histogram(np.array(counts), 1.0)
        candidates, curve = clip_candidates(counted), kl_curve(counted)
        used = len(np.trim_zeros(counts, "b"))
        assert candidates[-1] == used
        for i in {0, len(curve) // 2, len(curve) - 1}:
            expected = kl_by_loops(counts[:used], int(candidates[i]))
            assert curve[i] == pytest.approx(expected, abs=1e-9)

    def test_a_uniform_tensor_keeps_its_whole_range(self):
        assert entropy_threshold(histogram(np.linspace(-3, 3, 100_000))) == pytest.approx(3)

    def test_far_outliers_are_clipped(self):
        values = np.concatenate([normal(100_000), [40.0]])
        assert 3 < entropy_threshold(histogram(values)) < 10

    def test_what_128_bins_hold_is_kept_whole(self):
        assert entropy_threshold(Histogram(np.array([3, 4, 5]), 0.5)) == 1.5

    def test_a_tensor_of_one_magnitude_keeps_it(self):
        assert entropy_threshold(histogram(np.full(100, -0.7))) == pytest.approx(0.7, rel=1e-5)

    @pytest.mark.parametrize("values", [np.zeros(9), np.zeros((2, 3, 4))])
    def test_a_tensor_of_zeros_has_no_threshold(self, values):
        with pytest.raises(ValueError, match="nothing but zeros"):
            entropy_threshold(histogram(values))

    @pytest.mark.parametrize("distribution", ["standard_normal", "laplace"])
    def test_it_lies_near_onnx_runtimes_threshold(self, distribution):
        values = getattr(np.random.default_rng(1), distribution)(size=200_000).astype(np.float32)
        collector = HistogramCollector(
            "entropy", True, num_bins=BINS, num_quantized_bins=128, percentile=99.9, scenario="same"
        )
        collector.collect({"x": [values]})
        low, high = collector.get_entropy_threshold(collector.histogram_dict["x"], 128)[:2]
        assert entropy_threshold(histogram(values)) == pytest.approx(max(-low, high), rel=0.2)


def network(batch: str = "n") -> tuple[onnx.ModelProto, np.ndarray]:
    """Return a convolution with ReLU, then a sum, and the convolution's weights (4, 3, 1, 1)."""
    text = f"""<ir_version: 8, opset_import: ["": 17]>
    net (float[{batch},3,8,8] x) => (float[{batch},4,1,1] y) {{
        a = Conv (x, w)
        b = Relu (a)
        y = GlobalAveragePool (b)
    }}"""
    model = onnx.parser.parse_model(text)
    weights = normal(12).reshape(4, 3, 1, 1)
    model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    return model, weights


def images(n: int, seed: int = 0) -> np.ndarray:
    return normal(n * 192, seed).reshape(n, 3, 8, 8)


class TestCollectRanges:
    def test_minmax_ranges_are_the_largest_magnitudes_at_the_borders(self):
        model, weights = network()
        x = images(10)
        relu = np.maximum(np.einsum("oc,nchw->nohw", weights[:, :, 0, 0], x), 0)
        ranges = collect_ranges(model, [{"x": x[:6]}, {"x": x[6:]}], "minmax")
        assert ranges == pytest.approx(
            {"x": np.abs(x).max(), "b": relu.max(), "y": relu.mean(axis=(2, 3)).max()}, rel=1e-5
        )

    def test_entropy_ranges_are_the_thresholds_of_the_activations(self):
        model, weights = network()
        x = images(4)  # one run
        relu = np.maximum(np.einsum("oc,nchw->nohw", weights[:, :, 0, 0], x), 0)
        ranges = collect_ranges(model, [{"x": x}], "entropy")
        assert ranges["x"] == entropy_threshold(histogram(x))
        assert ranges["b"] == pytest.approx(entropy_threshold(histogram(relu)), rel=0.01)

    @pytest.mark.parametrize("sizes", [(64,), (1,) * 64, (30, 34), (7, 50, 7)])
    def test_the_size_of_the_batches_hardly_matters(self, sizes):
        model, _ = network()
        x = images(64)
        batches = [{"x": part} for part in np.split(x, np.cumsum(sizes)[:-1])]
        assert collect_ranges(model, batches, "minmax") == pytest.approx(
            collect_ranges(model, [{"x": x}], "minmax")
        )
        # The width of the bins depends on which batch was first.
        assert entropy_threshold(histogram(x)) == pytest.approx(
            collect_ranges(model, batches)["x"], rel=0.1
        )

    def test_a_network_with_a_fixed_batch_is_run_in_whole_batches(self):
        dynamic, _ = network()
        fixed, _ = network("6")
        x = images(6)
        expected = collect_ranges(dynamic, [{"x": x}], "minmax")
        assert collect_ranges(fixed, [{"x": x}], "minmax") == pytest.approx(expected)

    def test_batches_are_read_one_at_a_time(self):
        model, _ = network()
        alive = []

        def batches():
            for seed in range(5):
                alive.append(seed)
                yield {"x": images(2, seed)}
                assert alive == list(range(seed + 1))

        assert set(collect_ranges(model, batches())) == {"x", "b", "y"}

    @pytest.mark.parametrize("algorithm", ["entropy", "minmax"])
    def test_a_tensor_that_is_always_zero_is_named(self, algorithm):
        model, _ = network()
        with pytest.raises(ValueError, match=r"'x'.*zero on every batch"):
            collect_ranges(model, [{"x": np.zeros((2, 3, 8, 8), np.float32)}], algorithm)

    @pytest.mark.parametrize("algorithm", ["entropy", "minmax"])
    def test_an_activation_that_overflows_is_named(self, algorithm):
        model, _ = network()
        x = np.full((1, 3, 8, 8), 3e38, np.float32)
        with pytest.raises(ValueError, match=r"'b'.*NaN or infinite"):
            collect_ranges(model, [{"x": x}], algorithm)

    def test_no_batches_and_empty_batches_are_refused(self):
        model, _ = network()
        with pytest.raises(ValueError, match="not a single calibration batch"):
            collect_ranges(model, [])
        with pytest.raises(ValueError, match=r"'x'.*no values"):
            collect_ranges(model, [{"x": np.zeros((0, 3, 8, 8), np.float32)}])

    def test_an_unknown_algorithm_is_refused(self):
        with pytest.raises(ValueError, match="neither 'entropy' nor 'minmax'"):
            collect_ranges(network()[0], [], "percentile")
