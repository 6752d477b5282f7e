"""A whole benchmark run, of fake runners whose cost and answers are known."""

import time
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from sample_results import sample_machine
from tiny import SHAPE, export_tiny, tiny_cnn, tiny_spec
from trtlab import benchmark
from trtlab.benchmark import Runner, benchmark_runners
from trtlab.build import build_engine
from trtlab.errors import InferenceError, InputError
from trtlab.infer import TensorRTInference
from trtlab.progress import track
from trtlab.results import BenchmarkSettings, Sizes, WorkloadFacts, read_results, write_results
from trtlab.spec import ShapeProfile
from trtlab.torch_infer import torch_predictor

CLASSES = 10


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


# Engines that ask for a batch of several


@pytest.fixture(scope="module", params=["fixed at 4", "3 to 5"])
def demanding(request, tmp_path_factory):
    """A runner of an FP32 engine of the tiny network that takes no batch below 3."""
    folder = tmp_path_factory.mktemp("demanding")
    fixed = request.param == "fixed at 4"
    onnx = export_tiny(folder, batch_size=4, dynamic_batch=not fixed)
    profiles = () if fixed else (ShapeProfile(min=3, opt=4, max=5),)
    build_engine(onnx, folder / "x.engine", tiny_spec("fp32", profiles=profiles))
    largest = 4 if fixed else 5
    return Runner("tensorrt", "fp32", lambda: TensorRTInference(folder / "x.engine"), largest)


def run_tiny(engine, *batch_sizes, images=6):
    """Measure it and PyTorch on images whose labels are PyTorch's answers but for the first."""
    x = np.random.default_rng(0).standard_normal((images, *SHAPE), np.float32)
    with torch.inference_mode():
        labels = tiny_cnn()(torch.from_numpy(x)).argmax(1).numpy()  # (images,)
    labels[0] = (labels[0] + 1) % 5
    pytorch = Runner("pytorch", "fp32", lambda: torch_predictor(tiny_cnn()))
    return benchmark_runners(
        {"pytorch-fp32": pytorch, "tensorrt-fp32": engine},
        [(x, labels)],
        WORKLOAD.model_copy(update={"input_shape": SHAPE, "classes": 5}),
        QUICK.model_copy(update={"batch_sizes": batch_sizes}),
    )


def test_batches_below_an_engines_smallest_are_left_out_like_those_above(emulated, demanding):
    results = run_tiny(demanding, 1, 4, 8)
    times = {r.name: [batch.batch_size for batch in r.batches] for r in results.runners}
    assert times == {"pytorch-fp32": [1, 4, 8], "tensorrt-fp32": [4]}


@pytest.mark.usefixtures("on_gpu")
def test_speedups_are_measured_at_the_batches_that_the_engine_takes(demanding):
    results = run_tiny(demanding, 1, 4)
    assert [(c.runner, c.batch_size) for c in results.comparisons] == [("tensorrt-fp32", 4)]


@pytest.mark.parametrize("images", [2, 4, 6, 11])
def test_every_image_counts_once_where_the_last_batch_is_filled_up(emulated, demanding, images):
    results = run_tiny(demanding, 4, images=images)
    engine = results.runner("tensorrt-fp32")
    assert engine.accuracy.images == images
    assert engine.accuracy.top1 == pytest.approx(100 * (images - 1) / images)
    assert (engine.accuracy_change.gained, engine.accuracy_change.lost) == (0, 0)


def test_an_engine_that_takes_none_of_the_batches_is_named_with_what_it_takes(emulated, demanding):
    with pytest.raises(
        InputError, match=rf"tensorrt-fp32 takes batches of . to {demanding.max_batch}.* are 1, 8\."
    ):
        run_tiny(demanding, 1, 8)


# Memory that runs out


def on_the_gpu():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


def on_the_host():
    np.empty(10**16, np.uint8)  # beyond any address space


def in_pytorch_on_the_host():
    torch.empty(10**16, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("fail", "reason"),
    [
        (on_the_gpu, r"Tried to allocate 20\.00 MiB"),
        (on_the_host, "Unable to allocate 8.88 PiB"),
        (in_pytorch_on_the_host, "you tried to allocate 10000000000000000 bytes"),
    ],
)
@pytest.mark.parametrize("when", ["opening", "running"])
def test_memory_that_runs_out_is_told_with_the_batches_and_the_reason(
    emulated, fakes, fail, reason, when
):
    class Hungry(Fake):
        @contextmanager
        def _open(self):
            if when == "opening":
                fail()
            yield lambda images: fail()

    fakes["pytorch-fp32"] = Hungry("pytorch", "fp32")
    with pytest.raises(InferenceError, match=rf"batches of up to 4\. Choose smaller.*{reason}"):
        run(fakes)


def test_any_other_failure_of_a_runner_stays_what_it_was(emulated, fakes):
    def broken(images):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    fakes["pytorch-fp32"].predict = broken
    with pytest.raises(RuntimeError, match="mat1"):
        run(fakes)
