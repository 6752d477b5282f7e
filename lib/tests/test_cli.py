"""The command line where it goes well, and when it is interrupted; README's walk is elsewhere."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli_runner import trtlab
from trtlab.engines import read_sidecar
from trtlab.results import read_results
from trtlab.training import RECIPES


def answer(*arguments: object) -> object:
    outcome = trtlab(*arguments, "--json")
    assert outcome.status == 0, outcome
    return json.loads(outcome.out)


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom typer.testing import CliRunner\nfrom trtlab.cli import app\n"
        "print(CliRunner().invoke(app, ['--help']).output)\n"
        "assert not {'torch', 'onnx', 'onnxruntime', 'tensorrt'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in ("doctor", "prepare", "train", "convert-to-onnx", "convert-to-tensorrt"):
        assert command in done.stdout
    for command in ("inspect", "infer", "benchmark", "visualize", "demo"):
        assert command in done.stdout


def test_the_demo_ends_with_a_report_and_marks_every_emulated_time(tmp_path: Path) -> None:
    outcome = trtlab("demo", "--output", tmp_path, "--images", 32)
    assert outcome.status == 0, outcome
    assert str(tmp_path / "report.html") in outcome.out
    results = read_results(tmp_path / "results.json")
    assert results.complete
    assert [runner.precision for runner in results.runners] == ["fp32", "fp32", "fp16", "int8"]
    if results.emulated:
        assert "not GPU times" in outcome.out
        assert "not GPU times" in (tmp_path / "report.html").read_text()
        assert results.comparisons == []
    assert len(list((tmp_path / "figures").iterdir())) == 10
    sidecar = read_sidecar(tmp_path / "resnet50_int8.engine")
    assert sidecar is not None
    assert sidecar.calibration is not None
    assert sidecar.calibration.images == 96


def test_a_fixed_batch_stays_fixed_from_onnx_to_the_engine(tmp_path: Path) -> None:
    onnx, engine = tmp_path / "x.onnx", tmp_path / "x.engine"
    summary = answer(
        "convert-to-onnx", "--model", "resnet50-slim", "--output", onnx, "--fixed-batch",
        "--batch-size", 2, "--no-simplify",
    )  # fmt: skip
    assert summary["dynamic_batch"] is False
    assert list(summary["max_abs_error_vs_pytorch"]) == ["2"]
    answer("convert-to-tensorrt", "--onnx", onnx, "--output", engine, "--precision", "fp32")
    report = answer("inspect", engine)
    assert {tuple(tensor["shape"]) for tensor in report["tensors"]} == {(2, 3, 224, 224), (2, 10)}


def test_a_calibration_cache_stands_in_for_the_images(
    small_onnx: Path, digit_folder: Path, tmp_path: Path
) -> None:
    cache, common = tmp_path / "x.cache", ("--precision", "int8", "--calibration-batch-size", 8)
    build = ("convert-to-tensorrt", "--onnx", small_onnx, *common, "--calibration-cache", cache)
    images = ("--calibration-data", digit_folder, "--calibrator", "minmax")
    first = answer(*build, "--output", tmp_path / "a.engine", *images)
    second = answer(*build, "--output", tmp_path / "b.engine", "--calibrator", "minmax")
    assert first["calibration"]["images"] == 16
    assert second["calibration"]["from_cache"] is True
    assert first["engine_sha256"] == second["engine_sha256"]


def test_a_few_corrupt_images_are_named_counted_and_skipped(
    small_onnx: Path, digit_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    picture = Image.open(next(digit_folder.rglob("*.png")))
    for index in range(39):
        picture.save(folder / f"{index}.png")
    (folder / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    outcome = trtlab(
        "convert-to-tensorrt", "--onnx", small_onnx, "--output", tmp_path / "x.engine",
        "--precision", "int8", "--calibration-data", folder,
    )  # fmt: skip
    assert outcome.status == 0
    assert "Skipped 1 unreadable file" in outcome.err
    assert "torn.png" in outcome.err


def test_an_image_a_folder_and_an_array_are_classified_alike(
    small_engine: Path, digit_folder: Path, tmp_path: Path
) -> None:
    from trtlab.data import preprocess

    paths = sorted(digit_folder.rglob("*.png"))[:3]
    np.save(tmp_path / "x.npy", np.stack([preprocess(Image.open(p)).numpy() for p in paths]))
    (from_array, from_folder) = (
        answer("infer", "--engine", small_engine, "--input", source, "--batch-size", 2)
        for source in (tmp_path / "x.npy", digit_folder)
    )
    by_name = {prediction["source"]: prediction["top5"] for prediction in from_folder}
    for path, prediction in zip(paths, from_array, strict=True):
        (alone,) = answer("infer", "--engine", small_engine, "--input", path)
        expected = [guess["probability"] for guess in alone["top5"]]
        assert [g["probability"] for g in prediction["top5"]] == pytest.approx(expected, abs=1e-3)
        assert [g["probability"] for g in by_name[path.name]] == pytest.approx(expected, abs=1e-3)
        assert sum(expected) <= 1.0 + 1e-6


def test_batch_sizes_may_be_separated_by_spaces_or_commas() -> None:
    from trtlab.cli.measure import _batch_sizes

    assert _batch_sizes(["1"], ["4", "8"]) == [1, 4, 8]
    assert _batch_sizes(["8,1,4"], None) == [1, 4, 8]
    assert trtlab("benchmark", "7").status == 2
    assert trtlab("benchmark", "--batch-sizes", "0").status == 2


def test_training_writes_weights_that_the_other_commands_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(RECIPES["resnet50-slim"], batch_size=4)
    monkeypatch.setitem(RECIPES, "resnet50-slim", small)
    weights = tmp_path / "w.safetensors"
    facts = answer(
        "train", "--workload", "digits", "--arch", "resnet50-slim", "--steps", 2,
        "--validation-images", 20, "--output", weights,
    )  # fmt: skip
    assert facts["recipe"]["steps"] == 2
    summary = answer("convert-to-onnx", "--model", weights, "--output", tmp_path / "x.onnx")
    assert summary["model"] == "resnet50-slim"


def test_ctrl_c_leaves_nothing_half_written_and_exits_with_130(tmp_path: Path) -> None:
    # A shell makes what it starts in the background ignore Ctrl-C, and children inherit that.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-m", "trtlab", "prepare", "--output", str(tmp_path), "--images", "5000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    signal.signal(signal.SIGINT, inherited)
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob("*.png")) and process.poll() is None:
        assert time.monotonic() < deadline, "no image was written"
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=180)
    assert process.returncode == 130, err
    assert err == "Interrupted: no half-written file was left behind.\n"
    assert not list(tmp_path.rglob("*.part*"))
    for path in tmp_path.rglob("*.png"):
        Image.open(path).load()
