"""Building INT8 engines: what calibration must be shown, and what becomes of its failures."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from building.conftest import batches, leftovers
from tiny import SHAPE, export_tiny, tiny_spec
from trtlab import build, files
from trtlab.backend import trt
from trtlab.build import build_engine
from trtlab.calibrate import EntropyCalibrator, MinMaxCalibrator
from trtlab.engines import read_sidecar
from trtlab.errors import BuildError, CacheError, CalibrationError

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
    assert 0 < facts.seconds < read_sidecar(engine_path).build_seconds
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
    assert (sidecar.calibration.batches, sidecar.calibration.seconds) == (0, None)
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
