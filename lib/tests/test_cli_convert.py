"""`trtlab convert-to-tensorrt`: what it says beside the engine that it writes."""

from pathlib import Path

import pytest
import typer

from cli_runner import trtlab
from refusals import build
from trtlab import build as building
from trtlab.backend import IS_EMULATED
from trtlab.cli import app
from trtlab.errors import BuildError
from trtlab.spec import BuildSpec, Precision


def test_a_timing_cache_that_cannot_be_written_is_one_warning_beside_the_engine(
    small_onnx: Path, tmp_path: Path
) -> None:
    engine, folder = tmp_path / "x.engine", tmp_path / "timings"
    folder.mkdir()
    outcome = trtlab(*build(small_onnx, engine, "--timing-cache", folder))
    assert outcome.status == 0
    assert f"Wrote {engine}" in outcome.out
    (line,) = (line for line in outcome.err.splitlines() if str(folder) in line)
    assert line == f"Warning: Cannot write {folder}: it is a folder; name a file."


def test_every_warning_of_the_build_is_one_line_and_with_json_a_field(
    small_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = ("of two\nlines", "another")
    really = building.build_engine

    def warn(*arguments: object, **options: object) -> object:
        return really(*arguments, **options).model_copy(update={"warnings": told})

    monkeypatch.setattr(building, "build_engine", warn)
    arguments = build(small_onnx, tmp_path / "x.engine")
    assert trtlab(*arguments).err == "Warning: of two lines\nWarning: another\n"
    machine = trtlab(*arguments, "--json")
    assert machine.err == ""
    assert '"another"' in machine.out


@pytest.mark.skipif(not IS_EMULATED, reason="TensorRT warns of what it likes")
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "int8"])
def test_an_ordinary_build_warns_of_nothing(
    small_onnx: Path, digit_folder: Path, tmp_path: Path, precision: str
) -> None:
    images = ("--calibration-data", digit_folder, "--calibration-batch-size", 8)
    calibration = images if precision == "int8" else ()
    timings = ("--timing-cache", tmp_path / "timing.cache")
    engine = tmp_path / "x.engine"
    outcome = trtlab(*build(small_onnx, engine, "--precision", precision, *calibration, *timings))
    assert outcome.status == 0
    assert outcome.err == ""


def allowed_in_int8(precision: Precision) -> bool:
    try:
        BuildSpec(precision=Precision.INT8, layer_precisions={"/fc/*": precision})
    except BuildError:
        return False
    return True


def test_the_help_on_precision_rules_out_nothing_that_a_layer_of_int8_may_be() -> None:
    command = typer.main.get_command(app).commands["convert-to-tensorrt"]
    (option,) = (option for option in command.params if option.name == "precision")
    of_int8 = option.help.partition("int8")[2]
    others = [value for value in Precision if value.name != "INT8" and allowed_in_int8(value)]
    assert len(others) == 2
    for precision in others:
        assert precision.value in of_int8
        assert f"not {precision.value}" not in of_int8
