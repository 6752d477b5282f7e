import time
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sample_results import sample_machine
from trtlab import benchmark
from trtlab.benchmark import (
    Runner,
    benchmark_runners,
    compare_paired,
    event_median_ms,
    measure_latency,
    measure_throughput,
    random_inputs,
    rotating,
    torch_predictor,
)
from trtlab.errors import InputError
from trtlab.progress import track
from trtlab.results import BenchmarkSettings, Sizes, WorkloadFacts, read_results, write_results
from trtlab.stats import percentile

CLASSES = 10


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


# A whole run


class Fake:
    """A runner that knows the answer of every image but the first `wrong` ones.

    An image (1, 2, 2) holds its index in its first pixel; its label is the index modulo CLASSES.
    """

    def __init__(self, kind="tensorrt", precision="fp16", cost=0.0, wrong=0, max_batch=None):
        self.cost, self.wrong = cost, wrong
        self.seen = []  # batch sizes
        self.open_count = 0
        self.runner = Runner(kind, precision, self._open, max_batch, Sizes(engine=100), 1.5)

    @contextmanager
    def _open(self):
        self.open_count += 1
        try:
            yield self.predict
        finally:
            self.open_count -= 1

    def predict(self, images):
        self.seen.append(len(images))
        time.sleep(self.cost)
        index = images[:, 0, 0, 0].round().astype(int)
        answers = np.where(index < self.wrong, index + 1, index) % CLASSES
        return np.eye(CLASSES, dtype=np.float32)[answers]


def loader_of(count, batch_size=16):
    index = np.arange(count)
    images = np.zeros((count, 1, 2, 2), np.float32)
    images[:, 0, 0, 0] = index
    return [
        (images[i : i + batch_size], index[i : i + batch_size] % CLASSES)
        for i in range(0, count, batch_size)
    ]


WORKLOAD = WorkloadFacts(
    name="counting",
    model="fake",
    classes=CLASSES,
    input_shape=(1, 2, 2),
    split="validation",
    seed=0,
    images=100,
)
QUICK = BenchmarkSettings(batch_sizes=(1, 4), iterations=12, warmup=1, pairs=12, throughput_s=0.01)


@pytest.fixture
def gpu_events(monkeypatch):
    """CUDA events as on a GPU whose default stream is idle: they happen when they are recorded."""

    class Event:
        def record(self):
            self.recorded = time.perf_counter()

        def synchronize(self):
            self.waited = True

        def time_since(self, start):
            assert self.waited
            return (self.recorded - start.recorded) * 1e3

    monkeypatch.setattr("trtlab.backend.cuda", SimpleNamespace(Event=Event))


@pytest.fixture
def on_gpu(monkeypatch, gpu_events):
    """Let the run believe that it is on a GPU with real TensorRT."""
    monkeypatch.setattr(benchmark, "machine_facts", sample_machine)
    memory = iter([100.0, 350.0, 400.0, 430.0, 430.0, 420.0])
    monkeypatch.setattr(benchmark, "gpu_memory_mib", lambda: next(memory))


@pytest.fixture
def emulated(monkeypatch):
    monkeypatch.setattr(benchmark, "machine_facts", lambda: sample_machine(emulated=True))


@pytest.fixture
def fakes():
    return {
        "pytorch-fp32": Fake("pytorch", "fp32", cost=0.012),
        "tensorrt-fp16": Fake(precision="fp16", cost=0.002, wrong=1, max_batch=4),
        "tensorrt-int8": Fake(precision="int8", cost=0.0, wrong=7, max_batch=2),
    }


def run(fakes, loader=None, settings=QUICK, **more):
    runners = {name: fake.runner for name, fake in fakes.items()}
    return benchmark_runners(runners, loader or loader_of(100), WORKLOAD, settings, **more)


def test_a_run_on_a_gpu_measures_compares_and_judges_everything(on_gpu, fakes):
    results = run(fakes)
    assert results.complete
    assert [r.name for r in results.runners] == list(fakes)
    assert [len(r.batches) for r in results.runners] == [2, 2, 1]
    assert [r.accuracy.top1 for r in results.runners] == [100, 99, 93]
    assert [r.gpu_memory_mib for r in results.runners] == [250.0, 30.0, 0.0]
    fp16 = results.runner("tensorrt-fp16")
    assert (fp16.accuracy_change.lost, fp16.accuracy_change.gained) == (1, 0)
    assert (fp16.max_batch, fp16.build_seconds, fp16.sizes.engine) == (4, 1.5, 100)
    assert fp16.at(1).latency.events_median_ms > 2.0
    speedup = results.speedup("tensorrt-fp16", "pytorch-fp32", 4)
    assert 3.0 < speedup.speedup < 7.0  # 12 ms against 2 ms, and a busy machine oversleeps
    assert {(c.runner, c.batch_size) for c in results.comparisons} == {
        ("tensorrt-fp16", 1),
        ("tensorrt-fp16", 4),
        ("tensorrt-int8", 1),
    }
    verdicts = {(t.runner, t.quantity): t.verdict for t in results.targets}
    assert verdicts["tensorrt-fp16", "speed-up"] == "pass"
    assert verdicts["tensorrt-int8", "accuracy loss"] == "fail"


def test_an_emulated_run_has_times_but_no_speedup_memory_or_events(emulated, fakes):
    results = run(fakes)
    assert results.emulated
    assert results.comparisons == []
    assert all(r.gpu_memory_mib is None for r in results.runners)
    assert results.runner("tensorrt-fp16").at(4).latency.events_median_ms is None
    assert results.runner("tensorrt-int8").accuracy.top1 == 93
    assert {t.verdict for t in results.targets if t.quantity == "speed-up"} == {"not applicable"}


def test_no_runner_ever_gets_a_batch_above_its_maximum(on_gpu, fakes):
    run(fakes)
    assert max(fakes["tensorrt-fp16"].seen) == 4
    assert max(fakes["tensorrt-int8"].seen) == 2
    assert max(fakes["pytorch-fp32"].seen) == 16  # the loader's


def test_results_so_far_survive_an_interruption(emulated, fakes, tmp_path):
    path = tmp_path / "results.json"

    class Interrupted(Fake):
        def predict(self, images):
            if self.seen.count(4) > 3:
                raise KeyboardInterrupt
            return super().predict(images)

    fakes["tensorrt-int8"] = Interrupted(precision="int8")
    with pytest.raises(KeyboardInterrupt):
        run(fakes, on_progress=lambda partial: write_results(path, partial))
    partial = read_results(path)
    assert not partial.complete
    assert [len(r.batches) for r in partial.runners] == [2, 2, 1]
    assert partial.runner("tensorrt-fp16").accuracy is None


def test_runners_are_closed_after_a_run_and_after_an_error(emulated, fakes):
    run(fakes)
    assert [fake.open_count for fake in fakes.values()] == [0, 0, 0]
    fakes["broken"] = Fake()
    fakes["broken"].predict = lambda images: 1 / 0
    with pytest.raises(ZeroDivisionError):
        run(fakes)
    assert [fake.open_count for fake in fakes.values()] == [0, 0, 0, 0]


def test_accuracy_can_be_left_out(emulated, fakes):
    runners = {name: fake.runner for name, fake in fakes.items()}
    results = benchmark_runners(runners, None, WORKLOAD, QUICK)
    assert results.complete
    assert all(r.accuracy is None for r in results.runners)


def test_a_loader_without_a_length_will_do(emulated, fakes):
    results = run(fakes, loader=track(loader_of(50), "loader"))
    assert results.runner("pytorch-fp32").accuracy.images == 50


def test_without_a_pytorch_runner_there_is_nothing_to_compare_with(emulated, fakes):
    del fakes["pytorch-fp32"]
    results = run(fakes)
    assert results.runner("tensorrt-fp16").accuracy_change is None
    assert results.comparisons == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_sizes": (8, 16)}, "tensorrt-fp16 takes batches of at most 4"),
        ({"baseline": "pytorch-bf16"}, "'pytorch-bf16' is not among the runners: pytorch-fp32"),
    ],
)
def test_settings_that_fit_no_runner_are_refused_before_any_work(emulated, fakes, change, message):
    with pytest.raises(InputError, match=message):
        run(fakes, settings=QUICK.model_copy(update=change))
    assert all(fake.seen == [] for fake in fakes.values())


def test_no_runners_are_refused(emulated):
    with pytest.raises(InputError, match="no runners"):
        run({})


def test_nothing_is_written_to_stderr_where_nobody_is_looking(emulated, fakes, capsys):
    run(fakes)
    assert capsys.readouterr() == ("", "")
