"""The checks of lab 3 on made-up evidence: what is wrong costs its points, and is named."""

from typing import Any

import pytest

from trtlab.checks import lab3
from trtlab.checks.evidence import Attempt
from trtlab.checks.lab3 import DatasetEvidence
from trtlab.checks.lab3_calibrator import CalibratorEvidence
from trtlab.checks.lab3_engine import Int8EngineEvidence, Int8SizeEvidence, Int8SpeedEvidence
from trtlab.checks.registry import judge
from trtlab.checks.verdict import Verdict
from trtlab.results import PairedComparison

DONE = Attempt(stage="done", what="x")


def lost(verdict: Verdict) -> float:
    return verdict.max_points - verdict.points


def good_dataset(**changes: Any) -> DatasetEvidence:
    facts = {
        "images": 40,
        "limit": 12,
        "lengths": (40, 12),
        "item": "float32 (3, 224, 224)",
        "expected_item": "float32 (3, 224, 224)",
        "recognised": "model",
        "low": -2.1,
        "high": 2.6,
        "classes": 10,
        "limited_classes": 7,
        "repeatable": True,
        "written": 100,
    }
    return DatasetEvidence.model_validate({"attempt": DONE, **facts, **changes})


def good_calibrator(**changes: Any) -> CalibratorEvidence:
    facts = {
        "batch_size": 4,
        "reported": "4",
        "full_batches": 2,
        "right_batches": 2,
        "ends": True,
        "stays_ended": True,
        "buffers": 1,
        "partial": "dropped",
        "images_shown": 8,
        "images_right": 8,
        "absent_cache": "None",
        "reads_cache": True,
        "writes_cache": True,
        "after_error": "raised",
    }
    return CalibratorEvidence.model_validate({"attempt": DONE, **facts, **changes})


def good_engine(**changes: Any) -> Int8EngineEvidence:
    facts = {
        "batches": (1, 8, 32),
        "precisions": {"INT8": 55, "FP16": 2},
        "observed": True,
        "fp16": True,
        "calibration_batch": 32,
        "batch_size": 32,
        "images_shown": 96,
        "cache_tensors": 58,
        "input_range": 2.6,
        "input_largest": 2.64,
        "activation_ratio": 0.8,
        "images": 32,
        "logits_error": 0.03,
        "same_class": 32,
    }
    return Int8EngineEvidence.model_validate({"attempt": DONE, **facts, **changes})


def good_speed(low: float, high: float, **changes: Any) -> Int8SpeedEvidence:
    facts = {
        "precisions": {"INT8": 55},
        "images": 32,
        "logits_error": 0.03,
        "same_class": 32,
        "speedup": PairedComparison(speedup=(low + high) / 2, low=low, high=high, pairs=200),
    }
    return Int8SpeedEvidence.model_validate({"attempt": DONE, **facts, **changes})


@pytest.mark.parametrize(
    ("task", "evidence"),
    [("3.1", good_dataset()), ("3.2", good_calibrator()), ("3.3", good_engine())],
)
def test_good_evidence_earns_all_points(task: str, evidence: Any) -> None:
    assert lost(judge(task, evidence)) == 0


@pytest.mark.parametrize(
    ("changes", "points", "misconception"),
    [
        ({"lengths": (42, 12)}, 0.5, None),
        ({"lengths": (40, 40)}, 0.5, None),
        ({"item": "a tuple, no tensor"}, 1.5, None),
        ({"recognised": "pixels"}, 1, lab3.NOT_NORMALISED),
        ({"recognised": "unit"}, 1, lab3.NOT_NORMALISED),
        ({"recognised": "bgr"}, 1, lab3.CHANNELS_SWAPPED),
        ({"recognised": "resize"}, 1, lab3.OTHER_RESIZE),
        ({"recognised": "unknown"}, 1, lab3.NOT_NORMALISED),
        ({"limited_classes": 3}, 0.5, lab3.ONE_CLASS),
        ({"repeatable": False}, 0.5, None),
        ({"from_validation": 1}, 0.5, lab3.VALIDATION_IMAGES),
        ({"written": 63}, 0.5, None),
    ],
)
def test_what_is_wrong_with_a_dataset_costs_its_points(
    changes: dict[str, Any], points: float, misconception: str | None
) -> None:
    verdict = judge("3.1", good_dataset(**changes))
    assert lost(verdict) == points
    assert verdict.misconceptions == ((misconception,) if misconception else ())


@pytest.mark.parametrize(
    ("changes", "points", "misconception"),
    [
        ({"reported": "32"}, 0.5, None),
        ({"right_batches": 1}, 1.5, "calibrator-buffer-per-batch"),
        ({"right_batches": 0, "address": "host", "buffers": 0}, 1.5, "calibrator-host-pointer"),
        ({"right_batches": 0, "address": "freed", "buffers": 0}, 1.5, "calibrator-freed-buffer"),
        ({"right_batches": 0, "address": "malformed", "buffers": 0}, 1.5, None),
        ({"ends": False, "stays_ended": False}, 0.5, "calibrator-never-ends"),
        ({"stays_ended": False}, 0.5, "calibrator-never-ends"),
        ({"buffers": 3}, 0.5, "calibrator-buffer-per-batch"),
        ({"allocations": 1}, 0.5, "calibrator-buffer-per-batch"),
        ({"partial": "stale"}, 0.5, "calibrator-stale-rows"),
        ({"partial": "none"}, 0.5, None),
        ({"images_shown": None}, 0.5, None),
        ({"absent_cache": "it raised FileNotFoundError"}, 0.5, "calibrator-needs-a-cache"),
        ({"reads_cache": False}, 0.5, None),
        ({"writes_cache": False}, 0.5, None),
        ({"after_error": "hidden"}, 0.5, "calibrator-hides-errors"),
    ],
)
def test_what_is_wrong_with_a_calibrator_costs_its_points(
    changes: dict[str, Any], points: float, misconception: str | None
) -> None:
    verdict = judge("3.2", good_calibrator(**changes))
    assert lost(verdict) == points
    if changes != {"right_batches": 1}:  # nobody knows what went wrong there
        assert verdict.misconceptions == ((misconception,) if misconception else ())


def test_two_buffers_and_a_filled_last_batch_are_fine() -> None:
    assert lost(judge("3.2", good_calibrator(buffers=2, partial="filled"))) == 0


@pytest.mark.parametrize(
    ("changes", "points", "misconception"),
    [
        ({"batches": None, "problem": "no engine"}, 0.5, None),
        ({"batches": (32, 32, 32)}, 0.5, "calibration-profile-is-no-profile"),
        ({"precisions": {"FP16": 57}}, 1, "int8-in-name-only"),
        ({"precisions": {"unknown": 57}}, 1, "int8-layers-unknown"),
        ({"fp16": False}, 0.5, "int8-without-fp16"),
        ({"calibration_batch": None}, 0.5, "calibrated-at-opt"),
        ({"calibration_batch": 8}, 0.5, None),
        ({"images_shown": 0}, 0.5, "too-few-calibration-images"),
        ({"images_shown": None}, 0.5, None),
        ({"cache_problem": "there is no cache", "cache_tensors": 0}, 0.5, None),
        ({"cache_tensors": 3}, 0.5, None),
        ({"input_range": 1.0}, 0.5, "calibrated-on-other-inputs"),
        ({"input_range": 255.0}, 0.5, "calibrated-on-other-inputs"),
        ({"input_range": None}, 0.5, None),
        ({"activation_ratio": 0.1}, 0.5, "calibrated-on-other-inputs"),
        ({"activation_ratio": 32.0}, 0.5, "calibrated-on-other-inputs"),
        ({"logits_error": 0.33}, 0.5, None),
        ({"logits_error": None}, 0.5, None),
    ],
)
def test_what_is_wrong_with_an_engine_costs_its_points(
    changes: dict[str, Any], points: float, misconception: str | None
) -> None:
    verdict = judge("3.3", good_engine(**changes))
    assert lost(verdict) == points
    assert verdict.misconceptions == ((misconception,) if misconception else ())


def test_a_cache_with_names_of_its_own_is_judged_by_the_input_alone() -> None:
    assert lost(judge("3.3", good_engine(activation_ratio=None))) == 0


def test_the_speedup_is_judged_by_its_interval() -> None:
    assert lost(judge("3.4", good_speed(4.5, 5.5))) == 0
    doubtful = judge("3.4", good_speed(3.8, 4.2))
    assert (doubtful.state, lost(doubtful)) == ("inconclusive", 0)
    assert lost(judge("3.4", good_speed(3, 3.5))) == 10


def test_without_a_gpu_only_the_engine_is_judged() -> None:
    verdict = judge("3.4", good_speed(9, 9, speedup=None, emulated=True))
    assert (verdict.state, verdict.points) == ("needs a GPU", 2)


@pytest.mark.parametrize(
    ("changes", "points"),
    [
        ({"precisions": {"FP16": 57}}, 11),
        ({"logits_error": 0.9}, 11),
        ({"logits_error": None}, 11),
        ({"problem": "the engine is truncated"}, 10),
    ],
)
def test_the_speed_of_a_wrong_engine_earns_nothing(changes: dict[str, Any], points: float) -> None:
    assert lost(judge("3.4", good_speed(9, 9, **changes))) == points


def size(**changes: Any) -> Verdict:
    facts = {"int8_bytes": 26_100_000, "fp32_bytes": 95_300_000, "weights": 25_500_000}
    return judge("3.5", Int8SizeEvidence.model_validate({"attempt": DONE, **facts, **changes}))


def test_an_int8_engine_is_a_quarter_of_an_fp32_engine() -> None:
    assert lost(size()) == 0
    assert lost(size(weight_bytes=25_600_000)) == 0
    assert lost(size(int8_bytes=48_500_000)) == 3
    assert lost(size(weight_bytes=51_000_000)) == 1
    assert lost(size(int8_bytes=None, problem="it does not load")) == 3
    assert lost(size(int8_bytes=2_000_000)) == 3, "that is another network"
    assert lost(size(weight_bytes=2_000_000)) == 3
    on_the_emulation = size(emulated=True)
    assert (on_the_emulation.state, on_the_emulation.points) == ("needs a GPU", 1)
