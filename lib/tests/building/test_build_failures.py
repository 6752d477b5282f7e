"""Builds that fail, are interrupted, or have a timing cache: what is said and what is left."""

import errno
import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from onnx import helper

from building.conftest import leftovers
from tiny import tiny_spec
from trtlab import build
from trtlab.backend import compat, trt
from trtlab.build import ShapeProfile, build_engine
from trtlab.engines import load_engine, read_sidecar, sidecar_path
from trtlab.errors import BuildError, ModelError, OutputError
from trtlab.logger import LOGGER

# The timing cache


def test_a_timing_cache_is_written_and_read_again(
    onnx_path: Path, engine_path: Path, tmp_path: Path, built_with: SimpleNamespace
) -> None:
    path = tmp_path / "timing.cache"
    build_engine(onnx_path, engine_path, tiny_spec(), timing_cache=path)
    written = path.read_bytes()
    assert written == bytes(built_with.config.get_timing_cache().serialize())
    sidecar = build_engine(onnx_path, engine_path, tiny_spec("fp32"), timing_cache=path)
    assert sidecar.warnings == ()
    tactics = json.loads(path.read_bytes().split(b"\n", 1)[1])
    assert json.loads(written.split(b"\n", 1)[1]).items() < tactics.items()


def test_a_timing_cache_that_does_not_fit_is_replaced_and_the_sidecar_says_so(
    onnx_path: Path, engine_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "timing.cache"
    path.write_bytes(b"of another GPU")
    sidecar = build_engine(onnx_path, engine_path, tiny_spec(), timing_cache=path)
    assert any(f"The timing cache {path} is damaged" in text for text in sidecar.warnings)
    assert path.read_bytes() != b"of another GPU"
    assert build_engine(onnx_path, engine_path, tiny_spec(), timing_cache=path).warnings == ()


def test_a_timing_cache_that_cannot_be_written_does_not_cost_the_engine(
    onnx_path: Path, engine_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(target: Path, data: bytes) -> None:
        raise OutputError(f"Cannot write {target}: no space.")

    monkeypatch.setattr(build, "write_bytes", full)
    path = tmp_path / "timing.cache"
    sidecar = build_engine(onnx_path, engine_path, tiny_spec(), timing_cache=path)
    assert sidecar.warnings == (f"Cannot write {path}: no space.",)
    assert load_engine(engine_path) is not None


# What goes wrong


def test_every_parser_error_is_shown(onnx_path: Path, engine_path: Path) -> None:
    model = onnx.load(onnx_path)
    for index in (1, 3):
        model.graph.node[index].op_type = "Swoosh"
        model.graph.node[index].domain = "my.own"
    model.opset_import.append(helper.make_opsetid("my.own", 1))
    onnx_path.write_bytes(model.SerializeToString())
    with pytest.raises(
        BuildError, match=r"cannot parse .*tiny\.onnx: \(1\) node .*Swoosh"
    ) as caught:
        build_engine(onnx_path, engine_path, tiny_spec())
    assert "/relu1/Relu (Swoosh)" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert leftovers(engine_path.parent) == set()


def test_a_file_that_is_not_onnx_never_reaches_the_parser(
    tmp_path: Path, engine_path: Path
) -> None:
    (tmp_path / "tiny.onnx").write_text("hello")
    with pytest.raises(ModelError, match="not an ONNX file"):
        build_engine(tmp_path / "tiny.onnx", engine_path, tiny_spec())


def test_out_of_memory_is_explained_and_the_next_build_works(
    onnx_path: Path, engine_path: Path
) -> None:
    huge = tiny_spec(profiles=(ShapeProfile(min=1, opt=1, max=2**28),))
    with pytest.raises(BuildError, match=r"OutOfMemory.*lower the largest batch"):
        build_engine(onnx_path, engine_path, huge)
    assert leftovers(engine_path.parent) == set()
    build_engine(onnx_path, engine_path, tiny_spec())
    assert load_engine(engine_path) is not None


def test_a_builder_that_cannot_start_is_a_build_error(
    onnx_path: Path, engine_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def null(logger: Any) -> None:
        logger.log(trt.ILogger.ERROR, "CUDA initialization failure with error: 2")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(trt, "Builder", null)
    with pytest.raises(BuildError, match="cannot start a build: CUDA initialization failure"):
        build_engine(onnx_path, engine_path, tiny_spec())


def test_a_failed_build_leaves_the_old_engine_and_its_sidecar(
    onnx_path: Path, engine_path: Path
) -> None:
    build_engine(onnx_path, engine_path, tiny_spec())
    before = engine_path.read_bytes(), sidecar_path(engine_path).read_bytes()
    with pytest.raises(BuildError):
        build_engine(onnx_path, engine_path, tiny_spec(layer_precisions={"nope": "fp32"}))
    assert (engine_path.read_bytes(), sidecar_path(engine_path).read_bytes()) == before
    assert leftovers(engine_path.parent) == {"tiny.engine", "tiny.engine.json"}


def test_an_output_that_cannot_be_written_is_found_before_the_build(
    onnx_path: Path, tmp_path: Path, built_with: SimpleNamespace
) -> None:
    (tmp_path / "taken.engine").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        build_engine(onnx_path, tmp_path / "taken.engine", tiny_spec())
    assert not hasattr(built_with, "config")


def test_a_full_disk_leaves_nothing_half_written(
    onnx_path: Path, engine_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)  # the sidecar's, after the engine's content
    with pytest.raises(OutputError, match="no space left"):
        build_engine(onnx_path, engine_path, tiny_spec())
    assert leftovers(engine_path.parent) == set()


def test_warnings_of_tensorrt_are_kept_in_the_sidecar_and_off_stderr(
    onnx_path: Path,
    engine_path: Path,
    built_with: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    spied = build._run

    def warn(*arguments: Any) -> Any:
        LOGGER.log(trt.ILogger.WARNING, "Weights were clamped.")
        return spied(*arguments)

    monkeypatch.setattr(build, "_run", warn)
    build_engine(onnx_path, engine_path, tiny_spec())
    assert read_sidecar(engine_path).warnings == ("Weights were clamped.",)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


# Ctrl-C and progress on real TensorRT


def test_ctrl_c_waits_for_real_tensorrt_to_return(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "IS_EMULATED", False)
    before = signal.getsignal(signal.SIGINT)
    steps = []

    def interrupted_build() -> None:
        with build._interrupts_kept() as interrupted:
            steps.append(interrupted())
            signal.raise_signal(signal.SIGINT)
            steps.append(interrupted())

    with pytest.raises(KeyboardInterrupt):
        interrupted_build()
    assert steps == [False, True]
    assert signal.getsignal(signal.SIGINT) is before


class Tensorrt10:
    """The one class of TensorRT 10 that the progress monitor derives from."""

    class IProgressMonitor:
        pass


def test_nested_phases_of_tensorrt_10_add_up_to_the_whole() -> None:
    config = SimpleNamespace(progress_monitor=None)
    steps: list[float] = []
    go_on = [True]
    compat.report_progress(Tensorrt10, config, steps.append, 100, lambda: go_on[0])
    monitor = config.progress_monitor
    monitor.phase_start("build", None, 2)
    monitor.phase_start("tactics", "build", 4)
    assert monitor.step_complete("tactics", 0)
    assert sum(steps) == pytest.approx(12.5)  # a quarter of a half
    for step in (1, 2, 3):
        monitor.step_complete("tactics", step)
    monitor.phase_finish("tactics")
    assert sum(steps) == pytest.approx(50)
    monitor.step_complete("build", 0)
    assert sum(steps) == pytest.approx(50)  # the child phase was this step
    monitor.step_complete("build", 1)
    monitor.phase_finish("build")
    assert sum(steps) == pytest.approx(100)
    monitor.phase_start("another", None, 1)
    go_on[0] = False
    assert monitor.step_complete("another", 0) is False
    assert sum(steps) == pytest.approx(100)


def test_progress_is_reported_where_the_config_has_a_monitor() -> None:
    assert compat.reports_progress(SimpleNamespace(progress_monitor=None))
    assert not compat.reports_progress(trt.Builder(LOGGER).create_builder_config())
