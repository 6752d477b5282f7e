"""Bad calibration data, options, outputs and machines on the command line: one clear line each."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli_runner import trtlab
from refusals import build, is_empty, refused
from sample_results import sample_results
from trtlab.backend import IS_EMULATED
from trtlab.results import write_results

# --- calibration


def int8(onnx_path: Path, output: Path, *more: object) -> tuple[object, ...]:
    return build(onnx_path, output, "--precision", "int8", "--calibration-batch-size", 4, *more)


def test_int8_without_calibration_data_says_what_it_needs(small_onnx: Path, tmp_path: Path) -> None:
    assert "calibrat" in refused(*int8(small_onnx, tmp_path / "x.engine"))
    assert is_empty(tmp_path)


@pytest.mark.parametrize("folder", ["empty", "missing", "file"])
def test_a_calibration_folder_that_is_none_is_refused(
    small_onnx: Path, tmp_path: Path, folder: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    output = tmp_path / "out" / "x.engine"
    line = refused(*int8(small_onnx, output, "--calibration-data", tmp_path / folder))
    assert folder in line
    assert is_empty(tmp_path / "out")


def test_arrays_of_mixed_sizes_are_refused(small_onnx: Path, tmp_path: Path) -> None:
    folder = tmp_path / "arrays"
    folder.mkdir()
    for index, side in enumerate((224, 224, 192, 224)):
        np.save(folder / f"{index}.npy", np.zeros((3, side, side), np.float32))
    line = refused(*int8(small_onnx, tmp_path / "x.engine", "--calibration-data", folder))
    assert "192" in line


def test_images_of_mixed_sizes_are_resized(
    small_onnx: Path, digit_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for index, path in enumerate(sorted(digit_folder.rglob("*.png"))[:8]):
        Image.open(path).resize((200 + 10 * index, 300)).save(folder / path.name)
    output = tmp_path / "x.engine"
    assert trtlab(*int8(small_onnx, output, "--calibration-data", folder)).status == 0
    assert output.exists()


def with_corrupt_images(source: Path, folder: Path, good: int, bad: int) -> Path:
    folder.mkdir()
    for index, path in enumerate(sorted(source.rglob("*.png"))[:good]):
        shutil.copy(path, folder / f"good{index}.png")
    for index in range(bad):
        (folder / f"bad{index}.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    return folder


def test_too_many_corrupt_images_are_named_and_counted(
    small_onnx: Path, digit_folder: Path, tmp_path: Path
) -> None:
    folder = with_corrupt_images(digit_folder, tmp_path / "images", good=8, bad=2)
    line = refused(*int8(small_onnx, tmp_path / "x.engine", "--calibration-data", folder))
    assert "2 of 10" in line
    assert "bad0.png" in line
    assert "bad1.png" in line


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        ("TRT-7000-EntropyCalibration2\ninput: 3c010a14\n", "7000"),
        ("TRT-8600-EntropyCalibration2\ninput: 7fc00000\n", "input"),
        ("TRT-8600-EntropyCalibration2\ninput: 00000000\n", "input"),
        ("TRT-8600-MinMaxCalibration\ninput: 3c010a14\n", "MinMax"),
        ("not a cache at all", "cache"),
    ],
    ids=["empty", "version", "nan", "zero", "algorithm", "text"],
)
def test_a_calibration_cache_that_cannot_be_used_is_refused(
    small_onnx: Path, tmp_path: Path, content: str, words: str
) -> None:
    cache = tmp_path / "calibration.cache"
    cache.write_text(content)
    line = refused(*int8(small_onnx, tmp_path / "x.engine", "--calibration-cache", cache))
    assert words in line
    assert cache.read_text() == content
    assert not (tmp_path / "x.engine").exists()


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--precision", "fp8", "fp16"),
        ("--calibrator", "median", "entropy"),
        ("--layer-precision", "conv1", "PATTERN=PRECISION"),
        ("--layer-precision", "/nothing/*=fp16", "/conv1/Conv"),
        ("--opt-batch-size", "64", "64"),
    ],
)
def test_an_impossible_option_is_answered_with_what_is_possible(
    small_onnx: Path, digit_folder: Path, tmp_path: Path, option: str, value: str, words: str
) -> None:
    data = ("--calibration-data", digit_folder)
    arguments = [*int8(small_onnx, tmp_path / "x.engine", *data), option, value]
    assert words in refused(*arguments)
    assert is_empty(tmp_path)


# --- outputs and results


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "no space"), (errno.EROFS, "read-only")]
)
@pytest.mark.parametrize("command", ["export", "build", "infer", "benchmark", "visualize"])
def test_a_disk_that_is_full_or_read_only_leaves_nothing_half_written(
    small_onnx: Path,
    small_engine: Path,
    digit_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    words: str,
    command: str,
) -> None:
    results = write_results(tmp_path / "results.json", sample_results())
    out = tmp_path / "out"
    short = ("--batch-sizes", 1, "--iterations", 2, "--warmup", 0, "--duration", 0.1, "--images", 2)
    arguments = {
        "export": ("convert-to-onnx", "--model", "resnet50-slim", "--output", out / "x.onnx"),
        "build": build(small_onnx, out / "x.engine"),
        "infer": ("infer", "-i", digit_folder, "--engine", small_engine, "-o", out / "x.json"),
        "benchmark": ("benchmark", "--trt-engines", small_engine, *short, "-o", out / "x.json"),
        "visualize": ("visualize", "--results", results, "--output", out),
    }[command]

    def refuse(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    assert words in refused(*arguments)
    assert is_empty(out)


def test_results_of_another_schema_version_are_refused_with_both_versions(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    results.write_text('{"schema_version": 99}')
    line = refused("visualize", "--results", results)
    assert "99" in line
    assert "version 1" in line


def test_a_results_file_that_is_not_json_is_refused(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    results.write_text("{")
    assert "JSON" in refused("visualize", "--results", results)


def test_a_workload_that_does_not_exist_is_answered_with_those_that_do() -> None:
    assert "imagenette" in refused("prepare", "--workload", "mnist")


# --- the machine


def run_process(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trtlab", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
    )


def test_tensorrt_11_is_refused_with_the_reason(small_engine: Path, tmp_path: Path) -> None:
    (tmp_path / "tensorrt.py").write_text('__version__ = "11.4.0.106"\n')
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = run_process("inspect", small_engine, PYTHONPATH=path, TRTLAB_BACKEND="auto")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: TensorRT 11.4.0.106 is installed, but 11 removed")
    assert done.stderr.count("\n") == 1


def test_a_backend_that_does_not_exist_is_refused(small_engine: Path) -> None:
    done = run_process("inspect", small_engine, TRTLAB_BACKEND="cuda")
    assert done.returncode == 1
    assert "'cuda'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not IS_EMULATED, reason="a real GPU's memory is not limited by a variable")
def test_a_gpu_without_memory_ends_one_build_and_not_the_process(
    small_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as small:
        small.setenv("TRTLAB_EMULATED_MEMORY_MIB", "1")
        line = refused(*build(small_onnx, tmp_path / "x.engine", "--max-batch-size", 512))
    assert "memory" in line
    assert is_empty(tmp_path)
    assert trtlab(*build(small_onnx, tmp_path / "x.engine")).status == 0
