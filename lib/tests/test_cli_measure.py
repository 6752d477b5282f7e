"""`trtlab infer` and `benchmark` of an engine whose batch is fixed, and impossible batch sizes."""

import json
from pathlib import Path

import pytest
from torch import nn

from cli_runner import trtlab
from refusals import refused
from trtlab.build import build_engine
from trtlab.export import export_onnx
from trtlab.results import read_results
from trtlab.spec import BuildSpec

QUICK = ("--images", 6, "--iterations", 2, "--warmup", 0, "--duration", 0.1)


@pytest.fixture(scope="module")
def fixed_engine(small_net: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An FP16 engine for batches of 4 and no others."""
    folder = tmp_path_factory.mktemp("fixed")
    export_onnx(small_net, folder / "x.onnx", batch_size=4, dynamic_batch=False)
    build_engine(folder / "x.onnx", folder / "x.engine", BuildSpec(profiles=()))
    return folder / "x.engine"


def test_an_engine_of_a_fixed_batch_classifies_a_folder_of_another_number(
    fixed_engine: Path, small_engine: Path, digit_folder: Path
) -> None:
    found = []
    for engine in (fixed_engine, small_engine):
        outcome = trtlab("infer", "--engine", engine, "--input", digit_folder / "0", "--json")
        assert outcome.status == 0, outcome
        found.append([prediction["source"] for prediction in json.loads(outcome.out)])
    assert found[0] == found[1]
    assert len(found[0]) % 4, "choose a folder whose last batch is not full"


def test_an_engine_of_a_fixed_batch_is_measured_at_that_batch(
    fixed_engine: Path, tmp_path: Path
) -> None:
    output = tmp_path / "x.json"
    outcome = trtlab(
        "benchmark", "--trt-engines", fixed_engine, *QUICK, "-o", output, "--batch-sizes", 1, 4
    )
    assert outcome.status == 0, outcome
    engine = read_results(output).runner("tensorrt-fp16")
    assert [batch.batch_size for batch in engine.batches] == [4]
    assert engine.accuracy is not None
    assert engine.accuracy.images == 6


def test_a_batch_that_no_memory_holds_is_one_clear_line(small_engine: Path, tmp_path: Path) -> None:
    output = tmp_path / "x.json"
    line = refused(
        "benchmark", "--trt-engines", small_engine, *QUICK, "-o", output, "--batch-sizes", 4, 10**10
    )
    assert "batch of 10000000000" in line
    assert "smaller batch sizes" in line
    assert not output.exists()


@pytest.mark.parametrize("words", ["²", "0", "-4", "1.5", "four", "1,,4", "9" * 5000])
def test_a_batch_size_that_is_no_whole_number_above_0_is_a_wrong_option(words: str) -> None:
    outcome = trtlab("benchmark", f"--batch-sizes={words}")
    assert outcome.status == 2, outcome
    assert "whole numbers above 0" in outcome.err
