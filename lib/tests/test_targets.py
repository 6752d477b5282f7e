import pytest

from sample_results import sample_results, sample_speedup
from trtlab.results import AccuracyChange, Results, Sizes, TargetVerdict
from trtlab.targets import TARGETS, judge, judged_batch, target_for


def verdict_of(results: Results, runner: str, quantity: str, against="pytorch-fp32"):
    found = [
        t
        for t in judge(results)
        if (t.runner, t.quantity, t.against) == (runner, quantity, against)
    ]
    assert len(found) == 1
    return found[0]


def with_speedup(ratio: float) -> TargetVerdict:
    """The FP16 verdict for a measured ratio, whose interval is 3 % to either side."""
    results = sample_results()
    for entry in results.comparisons:
        entry.speedup = sample_speedup(ratio)
    return verdict_of(results, "tensorrt-fp16", "speed-up")


def with_change(low: float, high: float) -> TargetVerdict:
    """The INT8 verdict for a change in top-1 within `low` to `high` points."""
    results = sample_results()
    results.runner("tensorrt-int8").accuracy_change = AccuracyChange(
        points=(low + high) / 2, low=low, high=high, gained=0, lost=0, p_value=1, images=1000
    )
    return verdict_of(results, "tensorrt-int8", "accuracy loss")


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [(2.5, "pass"), (2.07, "pass"), (2.04, "inconclusive"), (1.96, "inconclusive"), (1.9, "fail")],
)
def test_a_speedup_passes_or_fails_only_with_its_whole_interval(ratio, verdict):
    assert with_speedup(ratio).verdict == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.9, 0.3, "pass"),
        (0.2, 0.4, "pass"),
        (-1.1, -0.2, "inconclusive"),
        (-3.0, -1.2, "fail"),
    ],
)
def test_an_accuracy_loss_passes_or_fails_only_with_its_whole_interval(low, high, verdict):
    assert with_change(low, high).verdict == verdict


def test_a_loss_is_the_negative_of_a_change():
    found = with_change(-0.9, 0.3)
    assert (found.measured, found.low, found.high) == pytest.approx((0.3, -0.3, 0.9))


def test_an_inconclusive_verdict_says_what_to_do():
    assert "1,000 images" in with_change(-1.1, -0.2).reason
    assert "more pairs" in with_speedup(2.0).reason


def test_speedups_are_judged_against_both_pytorch_baselines_at_the_smallest_batch():
    judged = [t for t in judge(sample_results()) if t.quantity == "speed-up"]
    assert {t.against for t in judged} == {"pytorch-fp32", "pytorch-tf32"}
    assert {t.batch_size for t in judged} == {1} == {judged_batch(sample_results())}


@pytest.mark.parametrize(("engine_bytes", "verdict"), [(48_500_000, "pass"), (95_300_000, "fail")])
def test_size_is_the_engine_against_the_weights(engine_bytes, verdict):
    results = sample_results()
    results.runner("tensorrt-fp16").sizes = Sizes(engine=engine_bytes)
    found = verdict_of(results, "tensorrt-fp16", "size reduction")
    assert found.verdict == verdict
    assert found.measured == pytest.approx(102_230_000 / engine_bytes)


def test_emulated_runs_are_judged_on_accuracy_alone():
    for target in judge(sample_results(emulated=True)):
        if target.quantity == "accuracy loss":
            assert target.measured is not None
        else:
            assert (target.verdict, target.measured) == ("not applicable", None)
            assert "emulated" in target.reason


def test_what_was_not_measured_is_not_applicable_rather_than_failed():
    results = sample_results()
    results.comparisons = []
    for runner in results.runners:
        runner.accuracy_change, runner.sizes = None, Sizes()
    judged = judge(results)
    assert judged
    assert {t.verdict for t in judged} == {"not applicable"}
    assert all(t.reason for t in judged)


def test_only_tensorrt_runners_of_a_precision_with_targets_are_judged():
    assert {t.runner for t in judge(sample_results())} == {"tensorrt-fp16", "tensorrt-int8"}


def test_each_precision_has_one_target_per_quantity():
    assert len({(t.precision, t.quantity) for t in TARGETS}) == len(TARGETS)
    assert target_for("int8", "accuracy loss").required == 1.0
    assert target_for("fp32", "accuracy loss") is None
