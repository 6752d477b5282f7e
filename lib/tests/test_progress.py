"""Progress bars appear where somebody looks, and nowhere else."""

import io
import os
import pty
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from cli_runner import trtlab
from sample_results import sample_results
from trtlab import progress
from trtlab.progress import progress_bar, track
from trtlab.results import write_results
from trtlab.training import RECIPES

SCRIPT = "from trtlab.progress import track\nprint(sum(track([1, 2, 3], 'adding')))"


def test_tracking_yields_every_item_and_writes_nothing_where_there_is_no_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert list(track([1, 2, 3], "counting")) == [1, 2, 3]
    assert list(track(iter("ab"), "spelling", total=2)) == ["a", "b"]
    with progress_bar("building", None) as advance:
        advance(1)
    assert capfd.readouterr() == ("", "")


def test_on_a_terminal_the_bar_is_on_stderr_and_stdout_stays_clean() -> None:
    master, slave = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        stdout=subprocess.PIPE,
        stderr=slave,
        text=True,
        check=True,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(slave)
    shown = os.read(master, 65536).decode()
    os.close(master)
    assert done.stdout == "6\n"
    assert "adding" in shown
    assert "3/3" in shown


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal would show of the bars."""
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=120)
    monkeypatch.setattr(progress, "_console", console)
    return shown


@pytest.mark.parametrize(
    ("command", "bars"),
    [
        ("prepare --images 2 --output {out}", ["writing"]),
        ("convert-to-onnx --model resnet50-slim --output {out}/x.onnx", ["exporting to ONNX"]),
        (
            "convert-to-tensorrt --onnx {onnx} --output {out}/x.engine --precision int8 "
            "--calibration-data {images} --calibration-batch-size 4",
            ["checking images", "calibrating", "building engine"],
        ),
        ("infer --engine {engine} --input {images}", ["inferring"]),
        (
            "benchmark --trt-engines {engine} --batch-sizes 1 --iterations 2 --warmup 0 "
            "--duration 0.1 --images 2 --output {out}/results.json",
            ["Latency and throughput", "Accuracy"],
        ),
        ("visualize --results {results} --output {out}", ["drawing"]),
        (
            "train --workload digits --arch resnet50-slim --steps 2 --validation-images 2 "
            "--output {out}/x.safetensors",
            ["training on"],
        ),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "",
)
def test_whatever_may_take_long_shows_its_time_left(
    command: str,
    bars: list[str],
    small_onnx: Path,
    small_engine: Path,
    digit_folder: Path,
    tmp_path: Path,
    terminal: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = replace(RECIPES["resnet50-slim"], batch_size=4)
    monkeypatch.setitem(RECIPES, "resnet50-slim", small)
    paths = {
        "out": tmp_path,
        "onnx": small_onnx,
        "engine": small_engine,
        "images": digit_folder,
        "results": write_results(tmp_path / "sample.json", sample_results()),
    }
    outcome = trtlab(*command.format(**paths).split())
    assert outcome.status == 0, outcome
    assert outcome.err == ""
    for bar in bars:
        (*_, line) = [line for line in terminal.getvalue().splitlines() if bar in line]
        assert "left" in line
