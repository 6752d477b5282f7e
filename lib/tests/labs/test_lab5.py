"""Lab 5: its fake models, and its probes on functions of every kind."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from trtlab.checks.verdict import State
from trtlab.lab.fake_model import (
    AsynchronousModel,
    LocalDevice,
    LookupClassifier,
    StoppedError,
    numbered_loader,
)
from trtlab.lab.session import verdict_on
from trtlab.stats import percentile

# The fake models


def test_a_call_returns_before_its_work_is_done_and_synchronize_waits_for_it() -> None:
    model = AsynchronousModel([20.0])
    start = time.perf_counter()
    model("input")
    returned = time.perf_counter() - start
    model.synchronize()
    assert returned < 0.015
    assert time.perf_counter() - start >= 0.020
    (call,) = model.device.calls
    assert call.waited
    assert not call.queued
    assert call.work_s >= 0.020


def test_work_is_done_one_piece_after_the_other() -> None:
    device = LocalDevice([5.0, 10.0], slow_first_ms=[20.0])
    for _ in range(3):
        device.call()
    assert [round(1e3 * call.work_s) for call in device.calls] == [20, 5, 10]
    assert [call.queued for call in device.calls] == [False, True, True]
    starts, ends = [c.started for c in device.calls], [c.done for c in device.calls]
    assert starts[1:] == ends[:-1]
    device.synchronize()
    assert [call.waited for call in device.calls] == [False, False, True]
    assert time.perf_counter() >= ends[-1]


def test_a_full_queue_makes_the_next_call_wait() -> None:
    device = LocalDevice([10.0], depth=2)
    start = time.perf_counter()
    for _ in range(3):
        device.call()
    assert time.perf_counter() - start >= 0.010


def test_a_loop_without_end_is_stopped() -> None:
    device = LocalDevice([1.0], depth=1, limit_s=0.05)

    def run() -> None:
        while True:
            device.call()

    with pytest.raises(StoppedError, match=r"0\.05 s"):
        run()
    assert device.stopped


def test_a_device_is_told_which_input_it_gets_and_of_how_many_images() -> None:
    model, known = AsynchronousModel([0.1]), np.zeros((4, 3, 8, 8))
    for inputs in (known, None, known, np.zeros((4, 3, 8, 8))):
        model(inputs)
    assert [call.token for call in model.device.calls] == [0, 1, 0, 2]
    assert [call.images for call in model.device.calls] == [4, 0, 4, 4]


def test_a_lookup_classifier_answers_by_number_and_wrongly_in_train_mode() -> None:
    logits = np.eye(6, 4, dtype=np.float32)
    ((images, _),) = numbered_loader([0] * 6, [6])
    model = LookupClassifier(logits).eval()
    np.testing.assert_array_equal(model(images.numpy()), logits)
    assert isinstance(model(images), torch.Tensor)
    assert not np.array_equal(model.train()(images.numpy()), logits)
    assert model.calls_in_train_mode == 1


# Right solutions of other kinds


def summary(times: list[float], p95: float, p99: float) -> dict[str, Any]:
    return {
        "mean_ms": sum(times) / len(times),
        "median_ms": float(np.median(times)),
        "p95_ms": p95,
        "p99_ms": p99,
        "std_ms": float(np.std(times, ddof=1)),
    }


def trtexec_latency(model, input_data, num_iterations, warmup, synchronize):  # type: ignore[no-untyped-def]
    for _ in range(warmup):
        model(input_data)
        synchronize()
    times = []
    for _ in range(num_iterations):
        synchronize()
        start = time.perf_counter_ns()
        model(input_data)
        synchronize()
        times.append((time.perf_counter_ns() - start) / 1e6)
    ordered = sorted(times)
    return summary(times, percentile(ordered, 95), percentile(ordered, 99))


def tensor_latency(model, input_data, num_iterations, warmup, synchronize):  # type: ignore[no-untyped-def]
    for _ in range(warmup):
        model(input_data)
    synchronize()
    times = torch.zeros(num_iterations)
    for index in range(num_iterations):
        start = time.perf_counter()
        model(input_data)
        synchronize()
        times[index] = (time.perf_counter() - start) * 1000
    p95, p99 = torch.quantile(times, torch.tensor([0.95, 0.99]))
    return summary(times.tolist(), p95, p99)


def throughput_waiting_at_the_end(model, batch_size, duration_sec, synchronize):  # type: ignore[no-untyped-def]
    inputs = [np.zeros((batch_size, 3, 224, 224), np.float32) for _ in range(4)]
    calls = 0
    start = time.perf_counter()
    while time.perf_counter() - start < duration_sec:
        model(inputs[calls % 4])
        calls += 1
    synchronize()
    return calls * batch_size / (time.perf_counter() - start)


def accuracy_in_torch(model, val_loader, num_samples):  # type: ignore[no-untyped-def]
    if isinstance(model, nn.Module):
        model = model.eval()
    hits = []
    for images, labels in val_loader:
        best = torch.as_tensor(model(images.numpy())).topk(5, dim=1).indices
        hits.append(best == labels[:, None])
    found = torch.cat(hits)[:num_samples].float()
    return 100 * found[:, 0].mean(), 100 * found.sum(dim=1).mean()


@pytest.mark.parametrize(
    ("task", "function"),
    [
        ("5.1", trtexec_latency),
        ("5.1", tensor_latency),
        ("5.2", throughput_waiting_at_the_end),
        ("5.3", accuracy_in_torch),
    ],
)
def test_right_solutions_of_another_kind_get_all_points(
    task: str, function: Callable[..., Any]
) -> None:
    verdict = verdict_on(task, {NAMES[task]: function})
    assert verdict.state == "pass", verdict


NAMES = {"5.1": "benchmark_latency", "5.2": "benchmark_throughput", "5.3": "evaluate_accuracy"}


# What is missing, raises, or returns something else


def not_written(*_: Any, **__: Any) -> None:
    raise NotImplementedError


def broken(*_: Any, **__: Any) -> None:
    raise ZeroDivisionError("division by zero")


@pytest.mark.parametrize("task", NAMES)
@pytest.mark.parametrize(
    ("names", "state", "said"),
    [
        ([], "not started", "does not exist"),
        ([not_written], "not started", "NotImplementedError"),
        ([broken], "fail", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_function_that_does_not_run_gets_nothing_and_hears_why(
    task: str, names: list[Any], state: State, said: str
) -> None:
    verdict = verdict_on(task, dict(zip([NAMES[task]], names, strict=False)))
    assert (verdict.points, verdict.state) == (0, state)
    assert said in verdict.findings[0].measured


@pytest.mark.parametrize("result", [None, 3.0, {}, {"mean_ms": "2"}, {"mean_ms": float("nan")}])
def test_a_latency_that_is_no_dict_of_numbers_is_described(result: Any) -> None:
    def function(model, *_, **__):  # type: ignore[no-untyped-def]
        model()
        return result

    verdict = verdict_on("5.1", {"benchmark_latency": function})
    assert verdict.points == 0
    assert "returned" in verdict.findings[0].measured or "mean_ms" in verdict.findings[0].measured


def test_a_latency_of_no_call_is_described() -> None:
    result = dict.fromkeys(("mean_ms", "median_ms", "p95_ms", "p99_ms", "std_ms"), 1.0)
    verdict = verdict_on("5.1", {"benchmark_latency": lambda *_, **__: result})
    assert verdict.points == 0
    assert "never called" in verdict.findings[0].measured


@pytest.mark.parametrize("result", [None, "many", float("inf")])
def test_a_throughput_that_is_no_number_earns_nothing_for_its_value(result: Any) -> None:
    verdict = verdict_on("5.2", {"benchmark_throughput": lambda *_, **__: result})
    assert verdict.points == 0
    assert "no number" in verdict.findings[0].measured


@pytest.mark.parametrize("result", [None, 97.0, (97.0,), ("97", "99"), (float("nan"), 1.0)])
def test_an_accuracy_that_is_not_two_numbers_is_described(result: Any) -> None:
    verdict = verdict_on("5.3", {"evaluate_accuracy": lambda *_: result})
    assert verdict.points == pytest.approx(0.1)  # it never called the module in train mode
    assert "not two numbers" in verdict.findings[0].measured
