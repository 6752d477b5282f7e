"""The calibration cache's text format: parsed, written, and refused where it cannot be right."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trtlab.calibration_cache import CalibrationCache, version_number
from trtlab.errors import CacheError, CalibrationError

# Written by TensorRT 10.3 for a YOLO model: 3c010204 is 1/127, an input within [0, 1].
BY_TENSORRT = b"TRT-100300-MinMaxCalibration\nimages: 3c010204\noutput0: 40b7daf4\n"

float32_scales = st.floats(min_value=2.0**-149, max_value=3.4028234663852886e38, width=32)
tensor_names = st.text(min_size=1).filter(lambda name: "\n" not in name)


@st.composite
def caches(draw):
    return CalibrationCache(
        version=draw(st.integers(0, 999_999)),
        algorithm=draw(st.sampled_from(["EntropyCalibration2", "MinMaxCalibration"])),
        scales=draw(st.dictionaries(tensor_names, float32_scales, min_size=1, max_size=8)),
    )


class TestParse:
    def test_a_file_of_tensorrt_is_understood(self):
        cache = CalibrationCache.parse(BY_TENSORRT)
        assert (cache.version, cache.algorithm) == (100300, "MinMaxCalibration")
        assert cache.scales["images"] == np.float32(1 / 127)
        assert cache.ranges()["images"] == pytest.approx(1.0, rel=1e-6)
        assert cache.ranges()["output0"] == pytest.approx(730, abs=0.5)

    def test_names_may_hold_colons_and_spaces(self):
        cache = CalibrationCache.parse(
            b"TRT-8601-EntropyCalibration2\n(Layer* 3) [Scale]: out: 3f800000\na:b: 40000000\n"
        )
        assert cache.scales == {"(Layer* 3) [Scale]: out": 1.0, "a:b": 2.0}

    def test_windows_line_ends_and_missing_leading_zeros_are_read(self):
        cache = CalibrationCache.parse(b"TRT-8601-EntropyCalibration2\r\nx: da24260\r\n")
        assert cache.scales == {"x": struct.unpack(">f", bytes.fromhex("0da24260"))[0]}

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "cache is empty"),
            (b"  \n\n", "cache is empty"),
            (b"\xff\xfe\x00", "is not text"),
            (b"hello\nx: 3f800000", r"begins with 'hello', expected a line like TRT-8601"),
            (b"TRT-" + b"9" * 5000 + b"-EntropyCalibration2\nx: 3f800000", "begins with 'TRT-999"),
            (b"TRT-8601-EntropyCalibration2\n", "lists no tensors"),
            (b"TRT-8601-EntropyCalibration2\nx 3f800000", "Line 2 .* is 'x 3f800000'"),
            (b"TRT-8601-EntropyCalibration2\nx: 3f80000g", "Line 2"),
            (b"TRT-8601-EntropyCalibration2\nx: 3f8000001", "Line 2"),
            (b"TRT-8601-EntropyCalibration2\nx: 3f800000\ny: ", "Line 3"),
            (b"TRT-8601-EntropyCalibration2\n: 3f800000", "Line 2"),
            (
                b"TRT-8601-EntropyCalibration2\nx: 3f800000\nx: 40000000",
                "Line 3 .* repeats",
            ),
            (b"TRT-8601-EntropyCalibration2\nx: 00000000", "tensor 'x' is 0.0, expected a finite"),
            (b"TRT-8601-EntropyCalibration2\nx: 0", "tensor 'x' is 0.0"),
            (b"TRT-8601-EntropyCalibration2\nx: 7f800000", "tensor 'x' is inf"),
            (b"TRT-8601-EntropyCalibration2\nx: 7fc00000", "tensor 'x' is nan"),
            (b"TRT-8601-EntropyCalibration2\nx: bf800000", "tensor 'x' is -1.0"),
        ],
    )
    def test_damage_is_named_with_what_to_do(self, content, reason):
        with pytest.raises(CacheError, match=reason) as caught:
            CalibrationCache.parse(content)
        assert "Delete the file to calibrate again" in str(caught.value)

    @settings(deadline=None)  # machines that run tests are busy
    @given(st.binary(max_size=60))
    def test_arbitrary_bytes_raise_nothing_but_a_cache_error(self, data):
        for content in (data, b"TRT-8601-EntropyCalibration2\n" + data):
            try:
                cache = CalibrationCache.parse(content)
            except CacheError:
                continue
            assert cache.scales

    def test_a_cache_error_is_a_calibration_error(self):
        assert issubclass(CacheError, CalibrationError)


class TestWrite:
    @settings(deadline=None)
    @given(caches())
    def test_what_is_written_is_read_back_exactly(self, cache):
        assert CalibrationCache.parse(cache.to_bytes()) == cache

    @settings(deadline=None)
    @given(tensor_names, float32_scales)
    def test_a_line_is_the_name_and_the_big_endian_bits(self, name, scale):
        written = CalibrationCache(8601, "MinMaxCalibration", {name: scale}).to_bytes()
        bits = int(np.float32(scale).view(np.uint32))
        assert written.decode() == f"TRT-8601-MinMaxCalibration\n{name}: {bits:08x}\n"

    def test_a_file_of_tensorrt_is_reproduced(self):
        assert CalibrationCache.parse(BY_TENSORRT).to_bytes() == BY_TENSORRT

    @pytest.mark.parametrize("name", ["", "two\nlines"])
    def test_a_name_that_would_break_the_format_is_refused(self, name):
        with pytest.raises(CacheError, match="cannot be the name"):
            CalibrationCache(8601, "MinMaxCalibration", {name: 1.0})

    def test_an_algorithm_that_would_break_the_header_is_refused(self):
        with pytest.raises(CacheError, match="is not a header"):
            CalibrationCache(8601, "Min Max", {"x": 1.0})


class TestRead:
    def test_a_file_is_read(self, tmp_path):
        (tmp_path / "x.cache").write_bytes(BY_TENSORRT)
        assert CalibrationCache.read(tmp_path / "x.cache").to_bytes() == BY_TENSORRT

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(CacheError, match=r"x\.cache: No such file"):
            CalibrationCache.read(tmp_path / "x.cache")

    def test_a_damaged_file_is_named(self, tmp_path):
        (tmp_path / "x.cache").write_bytes(b"")
        with pytest.raises(CacheError, match=r"x\.cache: The calibration cache is empty"):
            CalibrationCache.read(tmp_path / "x.cache")


class TestCheck:
    @pytest.mark.parametrize(
        ("version", "number"),
        [("8.6.0", 8600), ("8.6.1.6", 8601), ("8.6.0+emulated", 8600), ("10.16.1.11", 101601)],
    )
    def test_versions_are_numbered_as_tensorrt_does(self, version, number):
        assert version_number(version) == number

    def test_the_same_version_and_algorithm_pass(self):
        CalibrationCache.parse(BY_TENSORRT).check("10.3.0", "MinMaxCalibration")

    def test_another_version_is_refused_with_both(self):
        with pytest.raises(CacheError, match=r"by TensorRT 100300, and this is 8601 \(8\.6\.1\)"):
            CalibrationCache.parse(BY_TENSORRT).check("8.6.1", "MinMaxCalibration")

    def test_another_algorithm_is_refused_with_both(self):
        with pytest.raises(CacheError, match=r"by MinMax.*this calibrator is EntropyCalibration2"):
            CalibrationCache.parse(BY_TENSORRT).check("10.3.0", "EntropyCalibration2")
