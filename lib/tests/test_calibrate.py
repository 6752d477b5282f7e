"""Calibration: what reaches the device, what is refused, and that no error gets lost."""

import time

import numpy as np
import pytest
import torch
from PIL import Image

from trtlab.backend import IS_EMULATED, cuda, trt
from trtlab.build import build_engine
from trtlab.calibrate import (
    CalibrationDataset,
    EntropyCalibrator,
    MinMaxCalibrator,
    calibration_batches,
)
from trtlab.calibration_cache import CalibrationCache, version_number
from trtlab.errors import CacheError, CalibrationError, DataError, OutputError
from trtlab.export import export_onnx
from trtlab.spec import BuildSpec, Precision, ShapeProfile

frees_to_the_byte = pytest.mark.skipif(
    not IS_EMULATED, reason="a GPU reports free memory in pages of 2 MiB"
)

CALIBRATORS = [EntropyCalibrator, MinMaxCalibrator]


def random_batches(count=3, batch_size=4, seed=0):
    """Arrays (batch_size, 3, 8, 8), each batch on a scale of its own."""
    rng = np.random.default_rng(seed)
    shape = (batch_size, 3, 8, 8)
    return [(i + 1) * rng.standard_normal(shape).astype(np.float32) for i in range(count)]


def read_back(address, shape):
    host = np.empty(shape, np.float32)
    cuda.memcpy_dtoh(host, address)
    return host


def consume(calibrator):
    """Call get_batch as TensorRT does, to its end; return what lay at the addresses."""
    seen = []
    while (addresses := calibrator.get_batch(["input"])) is not None:
        assert len(addresses) == 1
        seen.append(read_back(addresses[0], (calibrator.get_batch_size(), 3, 8, 8)))
    return seen


def cache_bytes(algorithm, version=None):
    version = version_number(trt.__version__) if version is None else version
    return CalibrationCache(version, algorithm, {"input": 0.5}).to_bytes()


def to_tensor(image):
    """A stand-in for a model's preprocessing."""
    pixels = np.asarray(image.resize((8, 8)), np.float32).transpose(2, 0, 1)
    return torch.from_numpy(pixels / 255 - 0.5)  # (3, 8, 8)


@pytest.fixture
def folder(tmp_path):
    """Ten images in two class folders, of different sizes."""
    for i in range(10):
        path = tmp_path / "images" / f"class{i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9 + i, 20), (20 * i, i, 0)).save(path)
    return tmp_path / "images"


@pytest.fixture(scope="module")
def onnx_path(tmp_path_factory):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(4, 5, 3, padding=1),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
    )
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    return export_onnx(model.eval(), path, input_shape=(3, 8, 8))


INT8 = BuildSpec(precision=Precision.INT8, profiles=(ShapeProfile(min=1, opt=4, max=4),))


class TestDataset:
    def test_items_are_what_the_models_preprocessing_makes(self, folder):
        dataset = CalibrationDataset(folder, to_tensor)
        assert len(dataset) == 10
        first = Image.open(folder / "class0" / "0.png")
        assert torch.equal(dataset[0], to_tensor(first))
        assert (dataset[9].dtype, dataset[9].shape) == (torch.float32, (3, 8, 8))

    def test_a_limit_draws_with_the_seed(self, folder):
        sums = [
            [float(image.sum()) for image in CalibrationDataset(folder, to_tensor, limit=5, seed=s)]
            for s in (0, 0, 1)
        ]
        assert sums[0] == sums[1] != sums[2]
        assert len(sums[0]) == 5

    def test_a_corrupt_image_is_skipped_up_to_the_stated_share(self, folder):
        bad = folder / "class1" / "3.png"
        bad.write_bytes(b"\x89PNG")
        with pytest.raises(DataError, match=r"1 of 10 files are unreadable.*5%[^$]*3\.png"):
            CalibrationDataset(folder, to_tensor)
        dataset = CalibrationDataset(folder, to_tensor, max_bad_fraction=0.1)
        assert [path for path, _ in dataset.skipped] == [bad]
        assert len(dataset) == 9

    def test_a_missing_folder_is_named(self, tmp_path):
        with pytest.raises(DataError, match=r"no folder .*nowhere"):
            CalibrationDataset(tmp_path / "nowhere", to_tensor)


class TestBatches:
    def test_batches_are_float32_contiguous_and_in_order(self, folder):
        dataset = CalibrationDataset(folder, to_tensor)
        batches = list(calibration_batches(dataset, 5))
        assert len(batches) == 2
        assert all(b.dtype == np.float32 and b.flags.c_contiguous for b in batches)
        np.testing.assert_array_equal(
            np.concatenate(batches), np.stack([dataset[i].numpy() for i in range(10)])
        )

    def test_the_last_partial_batch_is_dropped(self, folder):
        batches = calibration_batches(CalibrationDataset(folder, to_tensor), 4)
        assert len(batches) == 2
        assert [batch.shape for batch in batches] == [(4, 3, 8, 8)] * 2

    def test_pairs_of_image_and_label_give_the_images(self):
        pairs = [(torch.full((3, 2, 2), float(i)), i) for i in range(4)]
        (batch,) = calibration_batches(pairs, 4)
        np.testing.assert_array_equal(batch[:, 0, 0, 0], [0, 1, 2, 3])

    def test_too_few_images_for_one_batch_are_an_error(self, folder):
        with pytest.raises(CalibrationError, match="10 calibration images do not fill"):
            calibration_batches(CalibrationDataset(folder, to_tensor), 11)


@pytest.mark.parametrize("make", CALIBRATORS)
class TestProtocol:
    def test_every_batch_reaches_the_device_once_and_is_counted(self, make):
        batches = random_batches()
        with make(iter(batches), 4) as calibrator:
            np.testing.assert_array_equal(consume(calibrator), batches)
            assert (calibrator.batches_consumed, calibrator.images_consumed) == (3, 12)
            assert calibrator.error is None

    def test_the_seconds_run_from_the_first_batch_to_the_scales(self, make):
        batches = (time.sleep(0.05) or batch for batch in random_batches())
        with make(batches, 4, total=3) as calibrator:
            assert calibrator.seconds is None
            consume(calibrator)
            assert calibrator.seconds is None
            calibrator.write_calibration_cache(cache_bytes(make.algorithm))
            assert 0.15 <= calibrator.seconds < 5

    def test_one_device_buffer_serves_all_batches(self, make):
        with make(random_batches(), 4) as calibrator:
            first = calibrator.get_batch(["input"])
            assert calibrator.get_batch(["input"]) == first
            assert type(first[0]) is int

    def test_the_last_batch_stays_on_the_device_until_close(self, make):
        batches = random_batches()
        with make(batches, 4) as calibrator:
            (address,) = calibrator.get_batch(["input"])
            consume(calibrator)
            np.testing.assert_array_equal(read_back(address, (4, 3, 8, 8)), batches[-1])

    @frees_to_the_byte
    def test_device_memory_is_taken_for_the_first_batch_and_returned_by_close(self, make):
        before, _ = cuda.mem_get_info()
        calibrator = make(random_batches(), 4)
        assert cuda.mem_get_info()[0] == before
        calibrator.get_batch(["input"])
        assert cuda.mem_get_info()[0] == before - 4 * 3 * 8 * 8 * 4
        calibrator.close()
        calibrator.close()
        assert cuda.mem_get_info()[0] == before

    def test_non_contiguous_batches_arrive_in_order(self, make):
        batch = np.asfortranarray(random_batches(1)[0])
        with make([batch], 4) as calibrator:
            np.testing.assert_array_equal(consume(calibrator), [batch])

    @pytest.mark.parametrize(
        ("spoil", "reason"),
        [
            (lambda b: b[:3], r"batch 2 has shape \(3, 3, 8, 8\), expected \(4, 3, 8, 8\).*drop"),
            (lambda b: b[:, :, :4], r"batch 2 has shape \(4, 3, 4, 8\)"),
            (lambda b: b.astype(np.float64), "batch 2 is float64, expected float32"),
            (lambda b: (b * 0 + 128).astype(np.uint8), "batch 2 is uint8.*preprocessing"),
            (lambda b: b * np.float32("nan"), "batch 2 holds NaN or infinity"),
            (lambda b: np.where(b == b.max(), np.float32("inf"), b), "batch 2 holds NaN or inf"),
        ],
    )
    def test_an_unusable_batch_ends_the_run_and_is_kept_as_the_error(self, make, spoil, reason):
        good = random_batches()
        with make([good[0], spoil(good[1]), good[2]], 4) as calibrator:
            assert len(consume(calibrator)) == 1
            with pytest.raises(CalibrationError, match=reason):
                raise calibrator.error
            assert calibrator.get_batch(["input"]) is None
            assert calibrator.batches_consumed == 1

    def test_a_first_batch_of_another_size_than_announced_is_an_error(self, make):
        with make(random_batches(batch_size=2), 4) as calibrator:
            assert consume(calibrator) == []
            assert "expected (4, 3, 8, 8)" in str(calibrator.error)

    @pytest.mark.parametrize("fault", [ZeroDivisionError, KeyboardInterrupt])
    def test_an_exception_of_the_data_is_kept_and_not_raised(self, make, fault):
        def batches():
            yield random_batches(1)[0]
            raise fault

        with make(batches(), 4, total=2) as calibrator:
            assert len(consume(calibrator)) == 1
            assert isinstance(calibrator.error, fault)

    def test_no_batches_at_all_are_an_error(self, make):
        with make([], 4) as calibrator:
            assert consume(calibrator) == []
            assert "not a single calibration batch" in str(calibrator.error)

    def test_a_network_of_two_inputs_is_refused_with_their_names(self, make):
        with make(random_batches(), 4) as calibrator:
            assert calibrator.get_batch(["ids", "mask"]) is None
            assert "2 inputs (ids, mask)" in str(calibrator.error)

    def test_a_full_gpu_is_an_error_that_says_how_much_was_needed(self, make, monkeypatch):
        def full(nbytes):
            raise cuda.MemoryError("cuMemAlloc failed: out of memory")

        monkeypatch.setattr(cuda, "mem_alloc", full)
        batch = np.zeros((64, 3, 64, 64), np.float32)
        with make([batch], 64) as calibrator:
            assert calibrator.get_batch(["input"]) is None
            assert isinstance(calibrator.error, CalibrationError)
            assert "no 3 MiB left for a calibration batch of 64" in str(calibrator.error)


@pytest.mark.parametrize("make", CALIBRATORS)
class TestCacheFile:
    def test_without_a_file_there_is_no_cache(self, make, tmp_path):
        for path in (None, tmp_path / "x.cache"):
            with make(random_batches(), 4, path) as calibrator:
                assert calibrator.read_calibration_cache() is None
                assert (calibrator.cache_used, calibrator.error) == (False, None)

    def test_what_is_written_is_read_back(self, make, tmp_path):
        content = cache_bytes(make.algorithm)
        with make(random_batches(), 4, tmp_path / "new" / "x.cache") as calibrator:
            calibrator.write_calibration_cache(memoryview(content))
            assert calibrator.error is None
            assert calibrator.read_calibration_cache() == content
            assert calibrator.cache_used

    def test_no_path_writes_nothing(self, make, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with make(random_batches(), 4) as calibrator:
            calibrator.write_calibration_cache(cache_bytes(make.algorithm))
        assert list(tmp_path.iterdir()) == []

    def test_unfinished_scales_are_not_written(self, make, tmp_path):
        with make(
            [np.full((4, 3, 8, 8), np.nan, np.float32)], 4, tmp_path / "x.cache"
        ) as calibrator:
            consume(calibrator)
            calibrator.write_calibration_cache(cache_bytes(make.algorithm))
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (lambda name: cache_bytes(name, version=7103), r"x\.cache.*written by TensorRT 7103"),
            (
                lambda name: cache_bytes("Other"),
                "written by Other.*name another file",
            ),
            (lambda name: b"", r"x\.cache: .*is empty"),
            (lambda name: cache_bytes(name) + b"y: 00000000\n", "tensor 'y' is 0.0"),
            (lambda name: cache_bytes(name) + b"y: 7f800000\n", "tensor 'y' is inf"),
        ],
    )
    def test_a_cache_that_does_not_fit_is_kept_as_the_error(self, make, tmp_path, content, reason):
        (tmp_path / "x.cache").write_bytes(content(make.algorithm))
        with make(random_batches(), 4, tmp_path / "x.cache") as calibrator:
            assert calibrator.read_calibration_cache() is None
            with pytest.raises(CacheError, match=reason):
                raise calibrator.error
            # TensorRT would go on and calibrate; there is nothing to go on with.
            assert calibrator.get_batch(["input"]) is None

    def test_a_cache_that_cannot_be_written_is_kept_as_the_error(self, make, tmp_path):
        (tmp_path / "x.cache").mkdir()
        with make(random_batches(), 4, tmp_path / "x.cache") as calibrator:
            calibrator.write_calibration_cache(cache_bytes(make.algorithm))
            assert isinstance(calibrator.error, OutputError)


class TestBuild:
    """The calibrators under TensorRT's own hand."""

    def test_minmax_ranges_are_the_largest_magnitudes_shown(self, onnx_path, tmp_path):
        batches = random_batches()
        with MinMaxCalibrator(batches, 4, tmp_path / "x.cache") as calibrator:
            build_engine(onnx_path, tmp_path / "x.engine", INT8, calibrator=calibrator)
            assert calibrator.batches_consumed == 3
        cache = CalibrationCache.read(tmp_path / "x.cache")
        cache.check(trt.__version__, "MinMaxCalibration")
        assert cache.ranges()["input"] == pytest.approx(np.abs(batches).max(), rel=0.01)

    def test_entropy_clips_a_long_tail_that_minmax_keeps(self, onnx_path, tmp_path):
        rng = np.random.default_rng(0)
        batches = rng.standard_t(3, (8, 64, 3, 8, 8)).astype(np.float32)
        ranges = {}
        for make in CALIBRATORS:
            path = tmp_path / f"{make.__name__}.cache"
            with make(batches, 64, path) as calibrator:
                build_engine(onnx_path, tmp_path / "x.engine", INT8, calibrator=calibrator)
            ranges[make] = CalibrationCache.read(path).ranges()["input"]
        largest = np.abs(batches).max()
        assert ranges[MinMaxCalibrator] == pytest.approx(largest, rel=0.01)
        assert 0.02 * largest < ranges[EntropyCalibrator] < 0.7 * largest

    def test_a_cache_spares_the_batches(self, onnx_path, tmp_path):
        path = tmp_path / "x.cache"
        for batches, consumed in ((random_batches(), 3), ([], 0)):
            with EntropyCalibrator(batches, 4, path) as calibrator:
                build_engine(onnx_path, tmp_path / "x.engine", INT8, calibrator=calibrator)
                assert calibrator.batches_consumed == consumed
                assert calibrator.cache_used == (consumed == 0)

    def test_an_exception_in_the_data_surfaces_and_leaves_no_files(self, onnx_path, tmp_path):
        def batches():
            yield random_batches(1)[0]
            raise ZeroDivisionError("the disk with the images went away")

        with (
            EntropyCalibrator(batches(), 4, tmp_path / "x.cache") as calibrator,
            pytest.raises(CalibrationError, match=r"ZeroDivisionError: .*went away"),
        ):
            build_engine(onnx_path, tmp_path / "x.engine", INT8, calibrator=calibrator)
        assert list(tmp_path.iterdir()) == []

    def test_ctrl_c_during_calibration_ends_the_build(self, onnx_path, tmp_path):
        def batches():
            yield random_batches(1)[0]
            raise KeyboardInterrupt

        with EntropyCalibrator(batches(), 4) as calibrator, pytest.raises(KeyboardInterrupt):
            build_engine(onnx_path, tmp_path / "x.engine", INT8, calibrator=calibrator)

    def test_a_stale_cache_surfaces_from_the_build(self, onnx_path, tmp_path):
        path = tmp_path / "x.cache"
        path.write_bytes(cache_bytes("EntropyCalibration2", version=7103))
        with (
            EntropyCalibrator(random_batches(), 4, path) as calibrator,
            pytest.raises(CacheError, match="written by TensorRT 7103"),
        ):
            build_engine(onnx_path, tmp_path / "x.engine", INT8, calibrator=calibrator)
        assert path.read_bytes() == cache_bytes("EntropyCalibration2", version=7103)
