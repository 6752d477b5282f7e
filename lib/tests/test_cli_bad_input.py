"""Bad input on the command line: one clear line, a non-zero status, nothing half-written.

ONNX files, engines and their inputs; the rest is in test_cli_refusals.py.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from cli_runner import trtlab
from refusals import build, is_empty, refused
from trtlab import engines
from trtlab.backend import IS_EMULATED
from trtlab.engines import sidecar_path

# --- ONNX files


def not_onnx(path: Path, good: bytes) -> None:
    path.write_text("<html>404 Not Found</html>")


def truncated(path: Path, good: bytes) -> None:
    path.write_bytes(good[: len(good) // 2])


def empty(path: Path, good: bytes) -> None:
    path.write_bytes(b"")


def unknown_operator(path: Path, good: bytes) -> None:
    value = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 224, 224])
    result = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 3, 224, 224])
    node = helper.make_node("Warp", ["input"], ["output"], name="warp1", domain="org.example")
    graph = helper.make_graph([node], "g", [value], [result])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("org.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (not_onnx, "not an ONNX"),
        (truncated, "truncated"),
        (empty, "empty"),
        (unknown_operator, "Warp"),
    ],
)
def test_a_bad_onnx_file_is_named_with_what_is_wrong(
    small_onnx: Path, tmp_path: Path, spoil: Callable[[Path, bytes], None], words: str
) -> None:
    bad = tmp_path / "bad.onnx"
    spoil(bad, small_onnx.read_bytes())
    line = refused(*build(bad, tmp_path / "out" / "x.engine"))
    assert words.lower() in line.lower()
    assert "bad.onnx" in line
    assert is_empty(tmp_path / "out")


def test_a_build_that_needs_more_memory_than_there_is_says_so_and_the_next_one_works(
    small_onnx: Path, tmp_path: Path
) -> None:
    line = refused(*build(small_onnx, tmp_path / "x.engine", "--max-batch-size", 2**28))
    assert "lower the largest batch" in line
    assert is_empty(tmp_path)
    assert trtlab(*build(small_onnx, tmp_path / "x.engine")).status == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("convert-to-tensorrt", "--onnx", "missing.file", "--output", "x.engine"),
        ("convert-to-onnx", "--model", "missing.file", "--output", "x.onnx"),
        ("inspect", "missing.file"),
        ("infer", "--engine", "missing.file", "--input", "x.png"),
        ("benchmark", "--trt-engines", "missing.file"),
        ("visualize", "--results", "missing.file"),
        ("prepare", "--workload", "imagefolder:missing.file"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_missing_file_is_named(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "missing.file" in refused(*arguments)
    assert is_empty(tmp_path)


# --- engines


@pytest.fixture
def engine(small_engine: Path, tmp_path: Path) -> Path:
    """A copy of the small engine and its sidecar, to be spoilt."""
    copy = tmp_path / "copy.engine"
    shutil.copy(small_engine, copy)
    shutil.copy(sidecar_path(small_engine), sidecar_path(copy))
    return copy


def change_sidecar(engine: Path, **fields: object) -> None:
    path = sidecar_path(engine)
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_an_engine_of_another_tensorrt_version_is_refused_with_both_versions(engine: Path) -> None:
    change_sidecar(engine, tensorrt_version="9.9.9")
    assert "9.9.9" in refused("inspect", engine)


def test_an_engine_of_another_gpu_is_refused_with_its_name(engine: Path) -> None:
    change_sidecar(engine, gpu="NVIDIA A100-SXM4-80GB", compute_capability="8.0")
    assert "A100" in refused("inspect", engine)


def test_a_truncated_engine_is_refused(engine: Path) -> None:
    engine.write_bytes(engine.read_bytes()[:-100])
    assert "truncated" in refused("inspect", engine)


def test_a_truncated_engine_without_its_sidecar_is_refused(engine: Path) -> None:
    engine.write_bytes(engine.read_bytes()[:-100])
    sidecar_path(engine).unlink()
    refused("inspect", engine)


@pytest.mark.skipif(not IS_EMULATED, reason="about the emulation")
def test_an_engine_of_real_tensorrt_is_refused_on_the_emulation(engine: Path) -> None:
    engine.write_bytes(b"ftrt" + bytes(1000))
    sidecar_path(engine).unlink()
    assert "emulat" in refused("inspect", engine)


@pytest.mark.skipif(not IS_EMULATED, reason="needs an emulated engine")
def test_an_emulated_engine_is_refused_by_real_tensorrt(
    engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "IS_EMULATED", False)
    assert "built by the CPU emulation" in refused("inspect", engine)


def test_another_file_in_place_of_an_engine_is_refused(engine: Path) -> None:
    engine.write_bytes(b"PK\x03\x04 an archive, say" * 10)
    sidecar_path(engine).unlink()
    refused("inspect", engine)


def test_a_damaged_sidecar_is_refused(engine: Path) -> None:
    sidecar_path(engine).write_text("{")
    assert "sidecar" in refused("inspect", engine)


def test_a_folder_without_engines_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    assert "notes.txt" in refused("benchmark", "--trt-engines", tmp_path)


# --- inputs of an engine


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 3, 224), np.float32), "channels"),
        (np.zeros((1, 4, 224, 224), np.float32), "4"),
        (np.zeros((224, 224), np.float32), "(224, 224)"),
        (np.zeros((1, 3, 64, 64), np.float32), "64"),
        (np.zeros((1, 3, 224, 224), np.int64), "int64"),
        (np.zeros((0, 3, 224, 224), np.float32), "0"),
        (np.full((1, 3, 224, 224), np.nan, np.float32), "NaN"),
    ],
    ids=["rank", "channels", "matrix", "size", "dtype", "nothing", "nan"],
)
def test_an_array_that_does_not_fit_the_engine_is_refused(
    small_engine: Path, tmp_path: Path, array: np.ndarray, words: str
) -> None:
    source = tmp_path / "array.npy"
    np.save(source, array)
    output = tmp_path / "out.json"
    line = refused("infer", "--engine", small_engine, "--input", source, "--output", output)
    if words != "channels":
        assert words in line
    assert not output.exists()


def test_a_batch_outside_the_profile_is_refused_with_the_profile(
    small_engine: Path, digit_folder: Path
) -> None:
    line = refused("infer", "--engine", small_engine, "--input", digit_folder, "--batch-size", 64)
    assert "64" in line
    assert "4" in line


def test_an_image_that_is_none_is_refused(small_engine: Path, tmp_path: Path) -> None:
    image = tmp_path / "photo.png"
    image.write_bytes(b"GIF89a, or so it says")
    assert "photo.png" in refused("infer", "--engine", small_engine, "--input", image)
