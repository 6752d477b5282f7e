"""The INT8 calibrator protocol: who is called when, and what the cache holds."""

import re
import struct

import numpy as np
import pytest

from conformance import models
from conformance.lab import classify, logits

BATCH = 2


def make(lab, batches, *, base="IInt8EntropyCalibrator2", cache=None, get_batch=None):
    """Return a calibrator that records its calls.

    `get_batch` (calibrator, number of the call) replaces what get_batch does.
    """

    class Calibrator(getattr(lab.trt, base)):
        def __init__(self):
            super().__init__()
            self.calls, self.names, self.written = [], None, None
            self.batches = iter(batches)
            self.device = lab.cuda.mem_alloc(models.images(BATCH).nbytes)

        def get_batch_size(self):
            self.calls.append("get_batch_size")
            return BATCH

        def get_batch(self, names):
            self.calls.append("get_batch")
            self.names = names
            if get_batch is not None:
                return get_batch(self, self.calls.count("get_batch"))
            return self.next_batch()

        def next_batch(self):
            batch = next(self.batches, None)
            if batch is None:
                return None
            lab.cuda.memcpy_htod(self.device, batch)
            return [int(self.device)]

        def read_calibration_cache(self):
            self.calls.append("read")
            return cache

        def write_calibration_cache(self, cache):
            self.calls.append("write")
            self.written = bytes(cache)

    return Calibrator()


def three_batches():
    return [models.images(BATCH, seed) for seed in range(3)]


def build(lab, calibrator, *flags):
    """Build the CNN in INT8 with a calibrator and a profile for its batches."""

    def prepare(network, config):
        config.int8_calibrator = calibrator
        config.set_calibration_profile(lab.profile(network, (BATCH, BATCH, BATCH)))

    return lab.build(models.cnn(), "INT8", *flags, prepare=prepare)


def scales(cache: bytes) -> dict[str, float]:
    """Parse the lines 'tensor: hexadecimal digits of a big-endian float32'."""
    pairs = (line.rpartition(": ") for line in cache.decode("ascii").splitlines()[1:])
    return {name: struct.unpack(">f", bytes.fromhex(hexa.zfill(8)))[0] for name, _, hexa in pairs}


@pytest.fixture(scope="module", params=["IInt8EntropyCalibrator2", "IInt8MinMaxCalibrator"])
def calibrated(lab, request):
    """(calibrator after its build, plan) for each kind of calibrator."""
    calibrator = make(lab, three_batches(), base=request.param)
    return calibrator, build(lab, calibrator)


def test_calibration_gives_a_plan(calibrated):
    assert calibrated[1] is not None


def test_the_cache_is_asked_for_before_any_batch(calibrated):
    calls = calibrated[0].calls
    assert calls.index("read") < calls.index("get_batch")


def test_the_batch_size_is_asked_for_before_any_batch(calibrated):
    calls = calibrated[0].calls
    assert calls.index("get_batch_size") < calls.index("get_batch")


def test_batches_are_fetched_until_there_are_none(calibrated):
    assert calibrated[0].calls.count("get_batch") == len(three_batches()) + 1


def test_the_cache_is_written_once_and_last(calibrated):
    calls = calibrated[0].calls
    assert calls.count("write") == 1
    assert calls[-1] == "write"


def test_get_batch_is_told_the_names_of_the_inputs(calibrated):
    assert list(calibrated[0].names) == ["input"]


def test_the_first_line_of_the_cache_names_version_and_algorithm(lab, calibrated):
    algorithm = {
        lab.trt.CalibrationAlgoType.ENTROPY_CALIBRATION_2: "EntropyCalibration2",
        lab.trt.CalibrationAlgoType.MINMAX_CALIBRATION: "MinMaxCalibration",
    }[calibrated[0].get_algorithm()]
    first = calibrated[0].written.decode("ascii").splitlines()[0]
    assert re.fullmatch(rf"TRT-\d{{4,6}}-{algorithm}", first)


def test_the_cache_has_a_positive_scale_for_each_tensor(calibrated):
    found = scales(calibrated[0].written)
    assert {"input", "output"} <= set(found)
    assert all(np.isfinite(scale) and scale > 0 for scale in found.values())


def test_an_int8_engine_computes_nearly_the_same(lab, calibrated):
    images = models.images(4, seed=9)
    found, exact = classify(lab, lab.context(calibrated[1]), images), logits(images)
    assert np.abs(found - exact).max() < 0.1 * np.abs(exact).max()


def test_min_max_takes_the_largest_magnitude_seen(lab):
    calibrator = make(lab, three_batches(), base="IInt8MinMaxCalibrator")
    assert build(lab, calibrator) is not None
    largest = max(float(np.abs(batch).max()) for batch in three_batches())
    assert 127 * scales(calibrator.written)["input"] == pytest.approx(largest, rel=0.01)


def test_entropy_clips_a_long_tail_that_min_max_keeps(lab):
    batches = [batch**3 for batch in three_batches()]
    entropy = make(lab, batches)
    assert build(lab, entropy) is not None
    largest = max(float(np.abs(batch).max()) for batch in batches)
    assert 0.02 * largest < 127 * scales(entropy.written)["input"] < 0.9 * largest


def test_a_cache_that_fits_replaces_the_batches(lab):
    first = make(lab, three_batches())
    plan = build(lab, first)
    second = make(lab, three_batches(), cache=first.written)
    assert build(lab, second) is not None
    assert plan is not None
    assert "get_batch" not in second.calls


def test_a_cache_of_another_algorithm_is_not_used(lab):
    minmax = make(lab, three_batches(), base="IInt8MinMaxCalibrator")
    assert build(lab, minmax) is not None
    entropy = make(lab, three_batches(), cache=minmax.written)
    assert build(lab, entropy) is not None
    assert "get_batch" in entropy.calls


def test_an_exception_in_get_batch_is_printed_and_ends_calibration_early(lab, capfd):
    def fail_second(calibrator, call):
        if call == 2:
            raise OSError("the disk is gone")
        return calibrator.next_batch()

    calibrator = make(lab, three_batches(), get_batch=fail_second)
    assert build(lab, calibrator) is not None
    assert calibrator.calls.count("get_batch") == 2
    assert "the disk is gone" in capfd.readouterr().err


def test_an_empty_list_ends_calibration_as_none_does(lab, capfd):
    def stop_after_one(calibrator, call):
        return calibrator.next_batch() if call == 1 else []

    calibrator = make(lab, three_batches(), get_batch=stop_after_one)
    assert build(lab, calibrator) is not None
    assert calibrator.calls.count("get_batch") == 2
    assert "Exception" not in capfd.readouterr().err


def test_calibration_without_any_batch_fails(lab):
    assert build(lab, make(lab, [])) is None
    assert lab.errors()


def test_int8_without_calibrator_or_ranges_fails(lab):
    assert lab.build(models.cnn(), "INT8") is None
    assert lab.errors()


def test_int8_with_a_range_for_every_tensor_needs_no_calibrator(lab):
    def set_ranges(network, config):
        tensors = [network.get_input(0)]
        for index in range(network.num_layers):
            layer = network.get_layer(index)
            tensors += [layer.get_output(each) for each in range(layer.num_outputs)]
        for tensor in tensors:
            assert tensor.set_dynamic_range(-4.0, 4.0)

    plan = lab.build(models.cnn(2), "INT8", profiles=(), prepare=set_ranges)
    images = models.images(2)
    found, exact = classify(lab, lab.context(plan), images), logits(images)
    assert np.abs(found - exact).max() < 0.1 * np.abs(exact).max()


def test_the_calibrator_outlives_its_name(lab):
    def prepare(network, config):
        config.int8_calibrator = make(lab, three_batches())
        config.set_calibration_profile(lab.profile(network, (BATCH, BATCH, BATCH)))

    assert lab.build(models.cnn(), "INT8", prepare=prepare) is not None


def test_the_config_returns_the_calibrator_it_was_given(lab):
    config, calibrator = lab.config(), make(lab, [])
    assert config.int8_calibrator is None
    config.int8_calibrator = calibrator
    assert config.int8_calibrator is calibrator


def test_calibration_runs_at_the_opt_shape_of_the_first_profile_unless_told_otherwise(lab):
    def prepare(network, config):
        config.int8_calibrator = calibrator

    calibrator = make(lab, three_batches())
    profiles = ((1, BATCH, 4),)
    assert lab.build(models.cnn(), "INT8", profiles=profiles, prepare=prepare) is not None
    assert calibrator.calls.count("get_batch") == 4


def test_calibrators_tell_their_algorithm(lab):
    algorithm = lab.trt.CalibrationAlgoType
    assert make(lab, []).get_algorithm() == algorithm.ENTROPY_CALIBRATION_2
    minmax = make(lab, [], base="IInt8MinMaxCalibrator")
    assert minmax.get_algorithm() == algorithm.MINMAX_CALIBRATION


def test_a_calibrator_whose_base_was_not_initialised_is_refused(lab):
    class Forgetful(lab.trt.IInt8EntropyCalibrator2):
        def __init__(self):
            self.batches = []

    with pytest.raises(TypeError, match="__init__"):
        Forgetful()
