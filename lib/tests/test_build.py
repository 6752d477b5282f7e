"""build.py and spec.py, with PyTorch as the oracle of what an engine computes."""

import errno
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from pydantic import ValidationError
from torch import nn

from tiny import LAYERS, SHAPE, export_tiny, tiny_cnn, tiny_spec
from trtlab import build, files
from trtlab.backend import compat, trt
from trtlab.build import BuildSpec, Precision, ShapeProfile, build_engine, parse_precision
from trtlab.calibrate import EntropyCalibrator, MinMaxCalibrator
from trtlab.engines import load_engine, read_sidecar, sidecar_path
from trtlab.errors import BuildError, CacheError, CalibrationError, ModelError, OutputError
from trtlab.export import export_onnx
from trtlab.infer import TensorRTInference
from trtlab.inspect import inspect_engine
from trtlab.logger import LOGGER


@pytest.fixture
def onnx_path(tmp_path: Path) -> Path:
    return export_tiny(tmp_path)


@pytest.fixture
def engine_path(tmp_path: Path) -> Path:
    return tmp_path / "tiny.engine"


@pytest.fixture
def built_with(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The builder's network and config of the last build, as they were when it started."""
    seen = SimpleNamespace()
    run = build._run

    def spy(builder: Any, network: Any, config: Any) -> Any:
        seen.network, seen.config = network, config
        return run(builder, network, config)

    monkeypatch.setattr(build, "_run", spy)
    return seen


def batches(count: int = 3, size: int = 2) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.standard_normal((size, *SHAPE), np.float32) for _ in range(count)]


def precisions(engine_path: Path) -> dict[str, str]:
    """ONNX node -> precision of the layer that it became a part of."""
    layers = inspect_engine(engine_path).layers
    return {node: layer.precision for layer in layers for node in layer.onnx_nodes}


def leftovers(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"tiny.onnx"}


# Specs


@pytest.mark.parametrize("batch_sizes", [(0, 1, 2), (2, 1, 4), (1, 5, 4), (-1, 1, 1)])
def test_a_profile_must_be_in_order(batch_sizes: tuple[int, int, int]) -> None:
    low, best, high = batch_sizes
    with pytest.raises(BuildError, match=f"min is {low}, opt {best} and max {high}"):
        ShapeProfile(min=low, opt=best, max=high)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"workspace_mib": 0}, "workspace_mib is 0"),
        ({"optimization_level": 6}, "optimization_level is 6; it goes"),
        ({"precision": "fp16", "layer_precisions": {"a": "int8"}}, "only fp16 or fp32"),
        ({"precision": "tf32", "layer_precisions": {"a": "tf32"}}, "only fp32"),
    ],
)
def test_an_impossible_spec_is_refused_when_it_is_made(fields: dict, reason: str) -> None:
    with pytest.raises(BuildError, match=reason):
        BuildSpec.model_validate(fields)


def test_a_spec_does_not_change_and_survives_json() -> None:
    spec = tiny_spec("int8", layer_precisions={"/fc/*": "fp16"}, optimization_level=2)
    with pytest.raises(ValidationError, match="frozen"):
        spec.workspace_mib = 1  # type: ignore[misc]
    assert BuildSpec.model_validate_json(spec.model_dump_json()) == spec


def test_precisions_are_parsed_in_any_case_and_unknown_ones_listed() -> None:
    assert parse_precision("FP16") is Precision.FP16
    with pytest.raises(BuildError, match=r"'fp8'; choose one of fp32, tf32, fp16, int8"):
        parse_precision("fp8")


# Building


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("fp16", 1e-2)])
def test_an_engine_computes_what_pytorch_computes(
    onnx_path: Path, engine_path: Path, precision: str, tolerance: float
) -> None:
    build_engine(onnx_path, engine_path, tiny_spec(precision))
    sample = batches(count=1, size=4)[0]
    with torch.inference_mode():
        expected = tiny_cnn()(torch.from_numpy(sample)).numpy()
    with TensorRTInference(engine_path) as model:
        np.testing.assert_allclose(model.infer(sample), expected, atol=tolerance)


@pytest.mark.parametrize(
    ("precision", "flags"),
    [("fp32", set()), ("tf32", {"TF32"}), ("fp16", {"TF32", "FP16"})],
)
def test_a_precision_sets_its_builder_flags(
    onnx_path: Path, engine_path: Path, built_with: SimpleNamespace, precision: str, flags: set
) -> None:
    build_engine(onnx_path, engine_path, tiny_spec(precision))
    known = ("TF32", "FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS")
    found = {name for name in known if built_with.config.get_flag(getattr(trt.BuilderFlag, name))}
    assert found == flags


def test_int8_permits_fp16_beside_it(
    onnx_path: Path, engine_path: Path, built_with: SimpleNamespace
) -> None:
    with EntropyCalibrator(batches(), 2) as calibrator:
        build_engine(onnx_path, engine_path, tiny_spec("int8"), calibrator=calibrator)
    assert built_with.config.get_flag(trt.BuilderFlag.INT8)
    assert built_with.config.get_flag(trt.BuilderFlag.FP16)
    assert set(precisions(engine_path).values()) == {"INT8"}


def test_limits_and_verbosity_reach_the_builder_config(
    onnx_path: Path, engine_path: Path, built_with: SimpleNamespace
) -> None:
    build_engine(onnx_path, engine_path, tiny_spec(workspace_mib=32, optimization_level=1))
    config = built_with.config
    assert config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 32 * 2**20
    assert config.builder_optimization_level == 1
    assert config.profiling_verbosity == trt.ProfilingVerbosity.DETAILED


def test_every_profile_is_in_the_engine(onnx_path: Path, engine_path: Path) -> None:
    profiles = (ShapeProfile(min=1, opt=1, max=1), ShapeProfile(min=2, opt=8, max=16))
    build_engine(onnx_path, engine_path, tiny_spec(profiles=profiles))
    engine = load_engine(engine_path)
    assert engine.num_optimization_profiles == 2
    shapes = [tuple(shape) for shape in engine.get_tensor_profile_shape("input", 1)]
    assert shapes == [(2, *SHAPE), (8, *SHAPE), (16, *SHAPE)]


def test_several_contexts_may_use_one_profile(onnx_path: Path, engine_path: Path) -> None:
    build_engine(onnx_path, engine_path, tiny_spec())
    engine = load_engine(engine_path)
    contexts = [engine.create_execution_context() for _ in range(2)]
    assert all(context.set_input_shape("input", (2, *SHAPE)) for context in contexts)


def test_a_model_of_fixed_batch_needs_no_profile(tmp_path: Path, engine_path: Path) -> None:
    onnx_path = export_tiny(tmp_path, batch_size=3, dynamic_batch=False)
    build_engine(onnx_path, engine_path, tiny_spec(profiles=()))
    assert tuple(load_engine(engine_path).get_tensor_shape("input")) == (3, *SHAPE)
    build_engine(onnx_path, engine_path, tiny_spec(profiles=(ShapeProfile(min=3, opt=3, max=3),)))
    assert tuple(load_engine(engine_path).get_tensor_shape("input")) == (3, *SHAPE)


def test_profiles_that_contradict_a_fixed_batch_are_refused(
    tmp_path: Path, engine_path: Path
) -> None:
    onnx_path = export_tiny(tmp_path, batch_size=3, dynamic_batch=False)
    with pytest.raises(BuildError, match=r"fixed at 3, but the profiles .* are 1/2/4"):
        build_engine(onnx_path, engine_path, tiny_spec())


def test_a_dynamic_batch_without_a_profile_is_refused(onnx_path: Path, engine_path: Path) -> None:
    with pytest.raises(BuildError, match="at least one ShapeProfile"):
        build_engine(onnx_path, engine_path, tiny_spec(profiles=()))


def test_a_dynamic_image_size_is_refused_by_name(onnx_path: Path, engine_path: Path) -> None:
    model = onnx.load(onnx_path)
    del model.graph.node[4:], model.graph.output[:]  # the fully connected layer needs 8x8
    height = model.graph.input[0].type.tensor_type.shape.dim[2]
    height.dim_param = "height"
    last = model.graph.node[-1].output[0]
    model.graph.output.append(helper.make_tensor_value_info(last, 1, ["batch", 4, "height", 8]))
    onnx_path.write_bytes(model.SerializeToString())
    with pytest.raises(BuildError, match=r"'input' has shape \(-1, 3, -1, 8\)"):
        build_engine(onnx_path, engine_path, tiny_spec())


# Precision by layer


def test_named_layers_keep_a_higher_precision(
    onnx_path: Path, engine_path: Path, built_with: SimpleNamespace
) -> None:
    spec = tiny_spec("int8", layer_precisions={"/conv1/Conv": "fp16", "/fc/*": "fp32"})
    with EntropyCalibrator(batches(), 2) as calibrator:
        build_engine(onnx_path, engine_path, spec, calibrator=calibrator)
    assert built_with.config.get_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    found = precisions(engine_path)
    assert found["/conv1/Conv"] == "FP16"
    assert found["/conv2/Conv"] == "INT8"
    assert found["/fc/Gemm"] == "FP32"


def test_the_last_pattern_that_matches_counts(onnx_path: Path, engine_path: Path) -> None:
    spec = tiny_spec("fp16", layer_precisions={"*": "fp32", "/conv2/*": "fp16", "/relu2/*": "fp16"})
    build_engine(onnx_path, engine_path, spec)
    found = precisions(engine_path)
    assert {node for node, precision in found.items() if precision == "FP16"} == {
        "/conv2/Conv",
        "/relu2/Relu",
    }


def test_an_unknown_layer_is_reported_with_those_that_there_are(
    onnx_path: Path, engine_path: Path
) -> None:
    with pytest.raises(BuildError, match=r"No layer is called '/conv9/\*'") as caught:
        build_engine(onnx_path, engine_path, tiny_spec(layer_precisions={"/conv9/*": "fp32"}))
    assert all(name in str(caught.value) for name in LAYERS)


def test_a_layer_name_with_brackets_means_itself(
    onnx_path: Path, engine_path: Path, built_with: SimpleNamespace
) -> None:
    model = onnx.load(onnx_path)
    model.graph.node[0].name = "(Unnamed Layer* 0) [Convolution]"
    onnx_path.write_bytes(model.SerializeToString())
    spec = tiny_spec(layer_precisions={"(Unnamed Layer* 0) [Convolution]": "fp32"})
    build_engine(onnx_path, engine_path, spec)
    constrained = [
        built_with.network.get_layer(index).name
        for index in range(built_with.network.num_layers)
        if built_with.network.get_layer(index).precision_is_set
    ]
    assert constrained == ["(Unnamed Layer* 0) [Convolution]"]


class ShapeArithmetic(nn.Module):
    """A model whose graph computes a shape in integers, beside its floats."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.reshape(x.shape[0], -1) + 1).relu()


def test_a_pattern_for_everything_leaves_shapes_alone(
    tmp_path: Path, engine_path: Path, built_with: SimpleNamespace
) -> None:
    path = export_onnx(ShapeArithmetic().eval(), tmp_path / "tiny.onnx", input_shape=SHAPE)
    build_engine(path, engine_path, tiny_spec(layer_precisions={"*": "fp32"}))
    network = built_with.network
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    constrained = {layer.name: layer.precision_is_set for layer in layers}
    assert (constrained["/Shape"], constrained["/Reshape"]) == (False, True)


def test_a_constant_has_no_precision_to_hold() -> None:
    # TensorRT's parser makes such layers of some weights; the emulation's keeps them as weights.
    output = SimpleNamespace(dtype=trt.DataType.FLOAT)
    layer = SimpleNamespace(num_outputs=1, get_output=lambda index: output)
    layer.type = trt.LayerType.CONVOLUTION
    assert build._computes_on_floats(layer)
    layer.type = trt.LayerType.CONSTANT
    assert not build._computes_on_floats(layer)


# Calibration


@pytest.mark.parametrize("kind", [EntropyCalibrator, MinMaxCalibrator])
def test_the_sidecar_says_what_the_engine_was_calibrated_on(
    onnx_path: Path, engine_path: Path, tmp_path: Path, kind: type
) -> None:
    cache = tmp_path / "tiny.cache"
    with kind(batches(count=3), 2, cache) as calibrator:
        build_engine(onnx_path, engine_path, tiny_spec("int8"), calibrator=calibrator)
    facts = read_sidecar(engine_path).calibration
    assert facts.calibrator == kind.__name__
    assert (facts.batches, facts.images, facts.from_cache) == (3, 6, False)
    assert facts.cache_sha256 == files.sha256(cache)


def test_calibration_runs_at_the_shape_of_the_calibration_batch(
    onnx_path: Path, engine_path: Path, built_with: SimpleNamespace
) -> None:
    with EntropyCalibrator(batches(size=3), 3) as calibrator:
        build_engine(onnx_path, engine_path, tiny_spec("int8"), calibrator=calibrator)
    shapes = built_with.config.get_calibration_profile().get_shape("input")
    assert [tuple(shape) for shape in shapes] == [(3, *SHAPE)] * 3


def test_a_cache_takes_the_place_of_the_batches(
    onnx_path: Path, engine_path: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "tiny.cache"
    with EntropyCalibrator(batches(), 2, cache) as calibrator:
        build_engine(onnx_path, engine_path, tiny_spec("int8"), calibrator=calibrator)
    expected = engine_path.read_bytes()
    with EntropyCalibrator([], 2, cache) as calibrator:
        sidecar = build_engine(onnx_path, engine_path, tiny_spec("int8"), calibrator=calibrator)
    assert sidecar.calibration.from_cache
    assert sidecar.calibration.batches == 0
    assert engine_path.read_bytes() == expected


def test_int8_without_a_calibrator_is_refused(onnx_path: Path, engine_path: Path) -> None:
    with pytest.raises(BuildError, match="INT8 needs a calibrator"):
        build_engine(onnx_path, engine_path, tiny_spec("int8"))


def test_a_calibrator_without_int8_is_refused(onnx_path: Path, engine_path: Path) -> None:
    with EntropyCalibrator(batches(), 2) as calibrator, pytest.raises(BuildError, match="is fp16"):
        build_engine(onnx_path, engine_path, tiny_spec("fp16"), calibrator=calibrator)


def test_a_calibration_batch_other_than_a_fixed_batch_is_refused(
    tmp_path: Path, engine_path: Path
) -> None:
    onnx_path = export_tiny(tmp_path, batch_size=3, dynamic_batch=False)
    spec = tiny_spec("int8", profiles=())
    with (
        EntropyCalibrator(batches(), 2) as calibrator,
        pytest.raises(BuildError, match="fixed at 3, but the calibrator's is 2"),
    ):
        build_engine(onnx_path, engine_path, spec, calibrator=calibrator)
    with EntropyCalibrator(batches(size=3), 3) as calibrator:
        assert build_engine(onnx_path, engine_path, spec, calibrator=calibrator).calibration


def failing(error: BaseException) -> Iterator[np.ndarray]:
    yield from batches(count=1)
    raise error


def test_an_exception_in_get_batch_ends_the_build_and_leaves_nothing(
    onnx_path: Path, engine_path: Path
) -> None:
    lost = KeyError("image 7")
    with (
        EntropyCalibrator(failing(lost), 2, total=3) as calibrator,
        pytest.raises(CalibrationError, match="KeyError: 'image 7'") as caught,
    ):
        build_engine(onnx_path, engine_path, tiny_spec("int8"), calibrator=calibrator)
    assert caught.value.__cause__ is lost
    assert leftovers(engine_path.parent) == set()


def test_a_calibration_error_surfaces_as_it_is(onnx_path: Path, engine_path: Path) -> None:
    ruined = batches()
    ruined[1][0, 0, 0, 0] = np.nan
    with (
        EntropyCalibrator(ruined, 2) as calibrator,
        pytest.raises(CalibrationError, match="batch 2 holds NaN"),
    ):
        build_engine(onnx_path, engine_path, tiny_spec("int8"), calibrator=calibrator)


def test_ctrl_c_in_get_batch_ends_the_build_and_leaves_nothing(
    onnx_path: Path, engine_path: Path
) -> None:
    with (
        EntropyCalibrator(failing(KeyboardInterrupt()), 2, total=3) as calibrator,
        pytest.raises(KeyboardInterrupt),
    ):
        build_engine(onnx_path, engine_path, tiny_spec("int8"), calibrator=calibrator)
    assert leftovers(engine_path.parent) == set()


def test_a_cache_that_does_not_fit_is_reported_before_the_build(
    onnx_path: Path, engine_path: Path, tmp_path: Path, built_with: SimpleNamespace
) -> None:
    cache = tmp_path / "old.cache"
    cache.write_text("TRT-8503-EntropyCalibration2\ninput: 3c8e1a2f\n")
    with (
        EntropyCalibrator(batches(), 2, cache) as calibrator,
        pytest.raises(CacheError, match="8503"),
    ):
        build_engine(onnx_path, engine_path, tiny_spec("int8"), calibrator=calibrator)
    assert not hasattr(built_with, "config")


def test_a_plain_calibrator_of_a_student_works(onnx_path: Path, engine_path: Path) -> None:
    with EntropyCalibrator(batches(), 2) as inner:

        class Plain(trt.IInt8EntropyCalibrator2):
            def get_batch_size(self) -> int:
                return 2

            def get_batch(self, names: list[str]) -> list[int] | None:
                return inner.get_batch(names)

            def read_calibration_cache(self) -> None:
                return None

            def write_calibration_cache(self, cache: bytes) -> None:
                pass

        sidecar = build_engine(onnx_path, engine_path, tiny_spec("int8"), calibrator=Plain())
    assert sidecar.calibration.calibrator == "Plain"
    assert sidecar.calibration.batches is None


def test_a_calibrator_that_was_asked_for_nothing_is_an_error() -> None:
    unasked = SimpleNamespace(error=None, batches_consumed=0, cache_path=None)
    with pytest.raises(CalibrationError, match="shown no calibration batch"):
        build._calibration_facts(unasked, from_cache=False)


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
