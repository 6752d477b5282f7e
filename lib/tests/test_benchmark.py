"""The stopwatch: latency, throughput, paired ratios, and the inputs that are timed."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from trtlab import benchmark
from trtlab.benchmark import (
    compare_paired,
    event_median_ms,
    measure_latency,
    measure_throughput,
    random_inputs,
    rotating,
)
from trtlab.errors import InputError
from trtlab.stats import percentile
from trtlab.torch_infer import torch_predictor


class Clock:
    """A clock that stands still except where a fake call takes its time."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(benchmark, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def calls(self, seconds):
        """Return a function whose calls take these times, one after the other."""
        durations = iter(seconds)

        def call():
            self.now += next(durations)

        return call


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


# Latency and throughput


def test_latency_statistics_are_those_of_the_timed_calls_alone(clock):
    timed = np.random.default_rng(0).lognormal(-5, 0.5, 200)
    fn = clock.calls([99.0, 98.0, 97.0, *timed])
    found = measure_latency(fn, iterations=200, warmup=3)
    expected = np.sort(timed) * 1e3
    assert found.mean_ms == pytest.approx(expected.mean())
    assert found.median_ms == pytest.approx(np.median(expected))
    assert found.std_ms == pytest.approx(expected.std())
    assert found.p95_ms == pytest.approx(percentile(expected, 95))
    assert found.p99_ms == pytest.approx(expected[-3])  # two of 200 are above it
    assert (found.iterations, found.warmup) == (200, 3)


def test_latency_agrees_with_a_real_sleep():
    slept = []

    def sleep():  # a busy machine oversleeps, so what it really took is the oracle
        start = time.perf_counter()
        time.sleep(0.005)
        slept.append(time.perf_counter() - start)

    found = measure_latency(sleep, iterations=8, warmup=1)
    assert found.median_ms >= 5.0
    assert found.median_ms == pytest.approx(1e3 * np.median(slept[1:]), rel=0.2)


@pytest.mark.parametrize(
    ("limit", "calls"), [(None, 100), (1000.0, 100), (30.0, 31), (0.5, benchmark.MIN_CALLS)]
)
def test_a_time_limit_ends_a_figure_early_but_leaves_enough_calls(clock, limit, calls):
    found = measure_latency(clock.calls([1.0] * 100), 100, warmup=0, max_seconds=limit)
    assert found.iterations == calls


def test_throughput_is_images_over_the_time_they_took(clock):
    found = measure_throughput(clock.calls([0.4] * 9), batch_size=8, duration_s=1.0)
    assert found.images == 3 * 8  # the third call ends at 1.2 s
    assert found.duration_s == pytest.approx(1.2)
    assert found.images_per_s == pytest.approx(24 / 1.2)


# Paired comparison


def test_a_speedup_is_right_although_the_machine_slows_down_meanwhile(clock):
    noise = np.random.default_rng(1)

    def call(cost):
        def run():
            drift = 1 + clock.now / 5  # a calm start, then four times slower
            clock.now += cost * drift * noise.normal(1, 0.02)

        return run

    found = compare_paired(call(0.03), call(0.01), pairs=200, warmup=5)
    assert clock.now > 10
    assert found.speedup == pytest.approx(3.0, rel=0.02)
    assert found.low <= found.speedup <= found.high
    assert found.high - found.low < 0.1
    assert found.pairs == 200


def test_each_pair_calls_both_in_an_order_that_varies(clock):
    order = []

    def call(name):
        def run():
            order.append(name)
            clock.now += 1

        return run

    compare_paired(call("a"), call("b"), pairs=100, warmup=2)
    pairs = ["".join(order[i : i + 2]) for i in range(4, len(order), 2)]
    assert set(pairs) == {"ab", "ba"}
    assert 30 < pairs.count("ab") < 70


def test_one_outlier_does_not_move_the_speedup(clock):
    slow = clock.calls([2.0] * 30 + [500.0] + [2.0] * 30)
    found = compare_paired(slow, clock.calls([1.0] * 61), pairs=61, warmup=0)
    assert found.speedup == 2.0


def test_a_slower_candidate_has_a_speedup_below_one(clock):
    found = compare_paired(clock.calls([1.0] * 20), clock.calls([4.0] * 20), pairs=20, warmup=0)
    assert (found.speedup, found.low, found.high) == (0.25, 0.25, 0.25)


def test_the_event_figure_is_the_median_of_what_passes_between_two_events(gpu_events):
    wanted, slept = iter([0.02, 0.001, 0.005]), []

    def sleep():  # a busy machine oversleeps, so what it really took is the oracle
        start = time.perf_counter()
        time.sleep(next(wanted))
        slept.append(time.perf_counter() - start)

    found = event_median_ms(sleep, calls=3)
    assert found == pytest.approx(1e3 * np.median(slept), rel=0.2)


@pytest.mark.gpu
def test_cuda_events_agree_with_the_wall_clock_and_expose_a_call_that_returns_early():
    model = torch.nn.Conv2d(64, 64, 3)
    images = np.zeros((32, 64, 112, 112), np.float32)
    with torch_predictor(model, "cuda") as predict:
        wall = measure_latency(lambda: predict(images), 20, 5).median_ms
        assert event_median_ms(lambda: predict(images), 20) == pytest.approx(wall, rel=0.1)
    layer, on_device = model.cuda(), torch.from_numpy(images).cuda()

    def returns_early():
        for _ in range(5):
            layer(on_device)

    wall = measure_latency(returns_early, 1, 5).median_ms
    assert event_median_ms(returns_early, 5) > 1.2 * wall


# Inputs


def test_inputs_differ_repeat_with_the_seed_and_rotate():
    inputs = random_inputs((3, 4, 4), batch_size=2, seed=7)
    assert {array.shape for array in inputs} == {(2, 3, 4, 4)}
    assert {array.dtype for array in inputs} == {np.dtype(np.float32)}
    assert len({array.tobytes() for array in inputs}) == len(inputs) == 8
    again = random_inputs((3, 4, 4), batch_size=2, seed=7)
    np.testing.assert_array_equal(inputs, again)
    seen = []
    fn = rotating(lambda x: seen.append(x.tobytes()), inputs)
    for _ in range(16):
        fn()
    assert seen[:8] == seen[8:] == [array.tobytes() for array in inputs]


@pytest.mark.parametrize(("batch_size", "count"), [(1, 8), (2, 5), (4, 2), (64, 2)])
def test_large_inputs_are_fewer_but_never_one(monkeypatch, batch_size, count):
    monkeypatch.setattr(benchmark, "MIB", 8)  # so 256 MiB are 2,048 bytes
    assert len(random_inputs((3, 4, 4), batch_size, seed=0)) == count


@pytest.mark.parametrize("batch_size", [10**10, 10**14, 10**30])  # beyond any address space
def test_inputs_that_no_memory_holds_are_refused_with_their_size(batch_size):
    mib = batch_size * 3 * 224 * 224 * 4 // 2**20
    with pytest.raises(InputError, match=rf"batch of {batch_size} take {mib} MiB.*smaller batch"):
        random_inputs((3, 224, 224), batch_size, seed=0)
