"""The scripts behind `make bench`: what they do without a GPU, and the arithmetic in them."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from measure_speed import SECTIONS
from speed import io_formats, layers
from speed.records import Record, read_records
from speed.targets import Finding, Target, targets_markdown
from speed.timing import call_times_ms, ratio_of_medians

SCRIPTS = Path(__file__).resolve().parents[2] / "docs" / "measurements"


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("section", SECTIONS)
def test_each_section_measures_a_rig(section: str) -> None:
    assert callable(importlib.import_module(f"speed.{section}").measure)


def test_the_emulations_times_are_refused_in_one_line(tmp_path: Path) -> None:
    answer = run("measure_speed.py", tmp_path / "out")
    assert answer.returncode == 1
    assert "the emulation's times are no speed" in answer.stderr
    assert not (tmp_path / "out").exists()


def test_a_section_that_is_not_there_is_named(tmp_path: Path) -> None:
    answer = run("measure_speed.py", tmp_path, "--only", "sizes,beauty")
    assert answer.returncode == 2
    assert "no section beauty; there are sizes, latency" in answer.stderr


def test_a_folder_without_measurements_is_named(tmp_path: Path) -> None:
    answer = run("draw_speed.py", tmp_path)
    assert answer.returncode == 1
    assert f"no measurement in {tmp_path}" in answer.stderr


@pytest.mark.slow
def test_a_trial_of_all_sections_is_measured_drawn_and_marked_as_one(tmp_path: Path) -> None:
    answer = run("measure_speed.py", tmp_path, "--quick")
    assert answer.returncode == 0, answer.stderr
    for section in SECTIONS:
        found = json.loads((tmp_path / f"speed-{section}.json").read_text())
        assert (found["emulated"], found["quick"]) == (True, True)
    assert run("draw_speed.py", tmp_path).returncode == 0
    assert "TRIAL OF THE SCRIPTS" in (tmp_path / "targets.md").read_text()


def test_a_failed_section_is_no_measurement(tmp_path: Path) -> None:
    facts = {"machine": {"gpu": None, "cpu": "a CPU", "versions": {"tensorrt": "8.6"}}}
    facts |= {"commit": "0", "quick": False, "emulated": False}
    for section, outcome in {"sizes": {"error": "no"}, "load": {"data": {"right": True}}}.items():
        text = json.dumps({"section": section, **facts, **outcome})
        (tmp_path / f"speed-{section}.json").write_text(text)
    assert list(read_records(tmp_path)) == ["load"]


class TestTargets:
    @pytest.mark.parametrize(
        ("value", "low", "high", "at_most", "verdict"),
        [
            (2.5, 2.1, 2.9, False, "met"),
            (2.5, 1.9, 2.9, False, "open"),
            (1.5, 1.1, 1.9, False, "missed"),
            (1.5, 1.1, 1.9, True, "met"),
            (2.1, 1.9, 2.3, True, "open"),
            (2.5, 2.1, 2.9, True, "missed"),
        ],
    )
    def test_the_whole_interval_has_to_meet_it(
        self, value: float, low: float, high: float, at_most: bool, verdict: str
    ) -> None:
        target = Target("speed", 2.0, [Finding("", value, low, high)], at_most=at_most)
        assert target.row()[3] == verdict

    def test_what_was_not_measured_is_not_met(self) -> None:
        assert Target("speed", 2.0, []).row()[2:] == ("not measured", "not measured")
        half = Target("speed", 2.0, [Finding("batch 1", 3, 3, 3)], missing=["batch 8"])
        assert half.row()[3] == "met: batch 1; not measured: batch 8"
        rows = [line for line in targets_markdown({}).splitlines() if line.startswith("| ")][2:]
        assert rows
        assert all(row.endswith("| not measured | not measured |") for row in rows)

    def test_a_loss_of_accuracy_is_the_change_with_its_sign_turned(self) -> None:
        change = {"points": -0.02, "low": -0.05, "high": 0.01, "images": 20_000}
        data = {"change": {"tensorrt-fp16": change}}
        table = targets_markdown({"accuracy": Record(data, "a GPU", "8.6", "0" * 40, False)})
        assert "| at most 0.10 | 0.02 [-0.01, 0.05] (20,000 images) | met |" in table


class TestTiming:
    def test_every_time_is_kept_and_the_warm_up_is_not(self) -> None:
        called: list[int] = []
        times = call_times_ms(lambda: called.append(1), calls=20, warmup=3, max_seconds=60)
        assert (len(times), len(called)) == (20, 23)

    def test_the_ratio_of_two_samples_lies_within_its_interval(self) -> None:
        rng = np.random.default_rng(0)
        slow, fast = rng.normal(3, 0.1, 200).tolist(), rng.normal(1, 0.1, 200).tolist()
        found = ratio_of_medians(slow, fast)
        assert found["low"] < 3 < found["high"]
        assert found["low"] < found["ratio"] < found["high"]


def test_time_is_counted_by_the_generation_that_kernels_are_written_for() -> None:
    times = (("sm80_xmma_fprop", 2.0), ("sm80_first", 1.0), (None, 0.5), ("reformat", 0.5))
    rows = [{"kernel": kernel, "seconds": seconds} for kernel, seconds in times]
    rows.append({"kernel": "sm90_xmma", "seconds": None})  # folded into another, never run
    assert layers.shares(rows) == {"": 0.25, "sm80": 0.75, "sm90": 0.0}


@pytest.mark.parametrize(
    "form", [io_formats.INT8, io_formats.INT8_CHW4, io_formats.INT8_CHW32, io_formats.FP16_HWC8]
)
def test_images_are_packed_as_the_layout_says(form: io_formats.InputFormat) -> None:
    images, scale = torch.randn(2, 3, 4, 5), 0.02
    packed = form.pack(images, scale)
    for n, c, y, x in np.ndindex(2, 3, 4, 5):
        value = float(images[n, c, y, x])
        if form.dtype == "INT8":
            value = min(max(round(value / scale), -127), 127)
        found = float(packed[n, c // form.lanes, y, x, c % form.lanes])
        assert found == pytest.approx(value, rel=1e-3)
