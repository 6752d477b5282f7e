"""What is particular to emulated calibration: the cache's content and what ends a run early."""

import struct

import numpy as np
import pytest

from conformance import models
from conformance.lab import Lab, classify
from trtlab.backend.emulated import cuda
from trtlab.backend.emulated import tensorrt as trt


@pytest.fixture(scope="module")
def shared_lab():
    return Lab("emulated", trt, cuda)


@pytest.fixture
def lab(shared_lab):
    shared_lab.log.clear()
    return shared_lab


class Calibrator(trt.IInt8EntropyCalibrator2):
    """Serves `count` batches of 2 random images; `scale` widens them."""

    def __init__(self, count=3, cache=None, scale=1.0, fail_at=None):
        super().__init__()
        self.count, self.cache, self.scale, self.fail_at = count, cache, scale, fail_at
        self.served, self.written, self.names = 0, None, None
        self.device = cuda.mem_alloc(2 * 3 * 16 * 16 * 4)

    def get_batch_size(self):
        return 2

    def get_batch(self, names):
        self.names = names
        if self.served == self.fail_at:
            raise ValueError("no such image")
        if self.served == self.count:
            return None
        images = models.images(2, seed=self.served) * np.float32(self.scale)
        cuda.memcpy_htod(self.device, images)
        self.served += 1
        return [int(self.device)]

    def read_calibration_cache(self):
        return self.cache

    def write_calibration_cache(self, cache):
        self.written = bytes(cache)


class MinMax(trt.IInt8MinMaxCalibrator):
    """The same batches for the other algorithm."""

    def __init__(self, **options):
        super().__init__()
        self.inner = Calibrator(**options)

    def get_batch_size(self):
        return self.inner.get_batch_size()

    def get_batch(self, names):
        return self.inner.get_batch(names)

    def read_calibration_cache(self):
        return self.inner.read_calibration_cache()

    def write_calibration_cache(self, cache):
        self.inner.write_calibration_cache(cache)


def use(calibrator):
    """Return a `prepare` that sets a calibrator."""

    def prepare(network, config):
        config.int8_calibrator = calibrator

    return prepare


def scales(cache):
    """Return the scale of each tensor in a cache."""
    lines = [line.rsplit(": ", 1) for line in cache.decode().splitlines()[1:]]
    return {name: struct.unpack(">f", bytes.fromhex(digits))[0] for name, digits in lines}


def test_the_cache_holds_the_largest_magnitude_as_a_scale(lab):
    calibrator = MinMax()
    assert lab.build(models.cnn(), "INT8", prepare=use(calibrator))
    calibrator = calibrator.inner
    assert calibrator.written.startswith(b"TRT-8600-MinMaxCalibration\n")
    batches = np.concatenate([models.images(2, seed) for seed in range(3)])
    found = scales(calibrator.written)
    assert found["input"] == pytest.approx(np.abs(batches).max() / 127)
    outputs = models.expected(models.cnn(), {"input": batches})["output"]
    assert found["output"] == pytest.approx(np.abs(outputs).max() / 127, rel=1e-5)
    assert calibrator.names == ["input"]


def test_entropy_clips_where_min_max_does_not(lab):
    entropy, largest = Calibrator(), MinMax()
    lab.build(models.cnn(), "INT8", prepare=use(entropy))
    lab.build(models.cnn(), "INT8", prepare=use(largest))
    assert entropy.written.startswith(b"TRT-8600-EntropyCalibration2\n")
    clipped, full = scales(entropy.written), scales(largest.inner.written)
    assert clipped.keys() == full.keys()
    assert clipped["input"] < full["input"]


def test_a_cache_replaces_the_batches_and_gives_the_same_engine(lab):
    first = Calibrator()
    plan = lab.build(models.cnn(), "INT8", prepare=use(first))
    second = Calibrator(cache=first.written)
    again = lab.build(models.cnn(), "INT8", prepare=use(second))
    assert second.served == 0
    assert second.written is None
    images = models.images(4)
    results = [classify(lab, lab.context(each), images) for each in (plan, again)]
    np.testing.assert_allclose(*results, atol=1e-6)


@pytest.mark.parametrize(
    "cache",
    [
        b"TRT-8501-EntropyCalibration2\ninput: 3c010a14\n",
        b"TRT-8600-MinMaxCalibration\ninput: 3c010a14\n",
        b"TRT-8600-EntropyCalibration2\n",
        b"TRT-8600-EntropyCalibration2\ninput: 7f800000\n",
        b"TRT-8600-EntropyCalibration2\ninput: 00000000\n",
        b"TRT-8600-EntropyCalibration2\ninput\n",
        b"\xff\xfe",
    ],
)
def test_a_cache_that_does_not_fit_is_ignored_with_a_warning(lab, cache):
    calibrator = Calibrator(cache=cache)
    assert lab.build(models.cnn(), "INT8", prepare=use(calibrator))
    assert calibrator.served == 3
    assert any("cache is not used" in text for _, text in lab.log.messages)


def test_an_exception_in_get_batch_ends_calibration_early(lab, capsys):
    short, failing = Calibrator(count=1), Calibrator(fail_at=1)
    lab.build(models.cnn(), "INT8", prepare=use(short))
    assert lab.build(models.cnn(), "INT8", prepare=use(failing))
    assert "Exception caught in get_batch(): ValueError: no such image" in capsys.readouterr().err
    assert failing.written == short.written


def test_no_batches_at_all_fail_the_build(lab):
    assert lab.build(models.cnn(), "INT8", prepare=use(Calibrator(count=0))) is None
    assert "no scaling factors detected" in lab.errors()[0]


def test_int8_without_calibrator_and_ranges_fails(lab):
    assert lab.build(models.cnn(), "INT8") is None
    assert "no int8 calibrator" in lab.errors()[0]


def test_a_batch_smaller_than_the_profile_is_an_illegal_access(lab):
    assert lab.build(models.cnn(), "INT8", profiles=((1, 4, 4),), prepare=use(Calibrator())) is None
    assert "illegal memory access" in lab.errors()[0]
    assert "(4, 3, 16, 16)" in lab.errors()[0]


def test_calibration_runs_at_the_calibration_profile(lab):
    def prepare(network, config):
        config.int8_calibrator = Calibrator()
        config.set_calibration_profile(lab.profile(network, (2, 2, 2)))

    assert lab.build(models.cnn(), "INT8", profiles=((1, 4, 4),), prepare=prepare)


@pytest.mark.parametrize("pointers", [[], [1.5], ["x"], [1, 2]])
def test_pointers_that_are_none_end_calibration(lab, pointers, capsys):
    class Odd(Calibrator):
        def get_batch(self, names):
            return super().get_batch(names) if self.served < 1 else pointers

    calibrator = Odd()
    assert lab.build(models.cnn(), "INT8", prepare=use(calibrator))
    assert calibrator.served == 1
    assert ("get_batch()" in capsys.readouterr().err) == bool(pointers)


def test_copies_to_the_batch_are_complete_before_it_is_read(lab):
    class Asynchronous(Calibrator):
        stream = cuda.Stream()

        def get_batch(self, names):
            if self.served == 1:
                return None
            self.served += 1
            cuda.memcpy_htod_async(self.device, np.full((2, 3, 16, 16), 7, np.float32), self.stream)
            return [int(self.device)]

    calibrator = Asynchronous()
    lab.build(models.cnn(), "INT8", prepare=use(calibrator))
    # A bin of the histogram is 7 / 2048 wide; unfinished copies would have left poison, NaN.
    assert scales(calibrator.written)["input"] == pytest.approx(7 / 127, rel=1e-3)


def test_calibrating_on_the_wrong_scale_costs_accuracy(lab):
    images = models.images(4, seed=99)
    expected = models.expected(models.cnn(), {"input": images})["output"]

    def error(scale):
        plan = lab.build(models.cnn(), "INT8", prepare=use(Calibrator(scale=scale)))
        return np.abs(classify(lab, lab.context(plan), images) - expected).max()

    assert error(1.0) < 0.1 < error(0.05)


def test_legacy_calibration_is_refused(lab):
    class Legacy(trt.IInt8LegacyCalibrator):
        pass

    assert lab.build(models.cnn(), "INT8", prepare=use(Legacy())) is None
    assert "LEGACY" in lab.errors()[0]


def test_methods_that_are_not_overridden_are_reported_as_by_the_binding(lab, capsys):
    assert lab.build(models.cnn(), "INT8", prepare=use(trt.IInt8EntropyCalibrator2())) is None
    printed = capsys.readouterr().err
    for method in ("read_calibration_cache", "get_batch_size", "get_batch"):
        assert f"Exception caught in {method}(): RuntimeError: Method: {method} was not" in printed


def test_a_range_set_by_hand_replaces_the_calibrated_one(lab):
    def prepare(network, config):
        config.int8_calibrator = Calibrator()
        network.get_input(0).dynamic_range = (-1e-3, 1e-3)

    spoilt = lab.build(models.cnn(), "INT8", prepare=prepare)
    calibrated = lab.build(models.cnn(), "INT8", prepare=use(Calibrator()))
    images = models.images(2)
    expected = models.expected(models.cnn(), {"input": images})["output"]
    errors = [
        np.abs(classify(lab, lab.context(plan), images) - expected).max()
        for plan in (spoilt, calibrated)
    ]
    assert errors[0] > 10 * errors[1]
