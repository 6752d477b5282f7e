"""Loading images and arrays: what is found, what is refused, and how the refusal reads."""

import numpy as np
import pytest
from PIL import Image

from trtlab.errors import DataError
from trtlab.images import ImageSource, find_images, load_array, load_image


def save_image(path, size=(12, 8), colour=(200, 30, 60)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def to_array(image):
    """A stand-in for a model's preprocessing: resize, scale, channels first."""
    return np.asarray(image.resize((4, 4)), np.float32).transpose(2, 0, 1) / 255  # (3, 4, 4)


@pytest.fixture
def folder(tmp_path):
    """Twenty images in two class folders, of different sizes and reds."""
    for i in range(20):
        save_image(
            tmp_path / f"class{i % 2}" / f"{i:02}.png", size=(8 + i, 30 - i), colour=(i, 0, 0)
        )
    return tmp_path


class TestFindImages:
    def test_flat_and_class_folders_are_listed_in_order(self, tmp_path):
        for name in ["b.png", "a.JPG", "dog/2.bmp", "cat/1.webp"]:
            save_image(tmp_path / name)
        found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
        assert found == ["a.JPG", "b.png", "cat/1.webp", "dog/2.bmp"]

    def test_hidden_files_and_other_files_are_left_out(self, tmp_path):
        save_image(tmp_path / "seen.png")
        save_image(tmp_path / ".ipynb_checkpoints" / "seen-checkpoint.png")
        (tmp_path / "._seen.png").write_bytes(b"AppleDouble")
        (tmp_path / "labels.csv").write_text("seen,3")
        assert [path.name for path in find_images(tmp_path)] == ["seen.png"]

    def test_folders_deeper_than_one_class_level_are_not_mixed_in(self, tmp_path):
        save_image(tmp_path / "train" / "cat" / "1.png")
        with pytest.raises(DataError, match=r"holds no images.*subfolder per class; found train"):
            find_images(tmp_path)

    def test_a_missing_folder_says_what_is_expected(self, tmp_path):
        with pytest.raises(DataError, match=r"There is no folder .*nowhere\. Expected images \("):
            find_images(tmp_path / "nowhere")

    def test_an_empty_folder_says_what_is_expected(self, tmp_path):
        with pytest.raises(DataError, match=r"holds no images.*Expected images.*nothing at all"):
            find_images(tmp_path)

    def test_a_file_is_not_a_folder(self, tmp_path):
        with pytest.raises(DataError, match="is a file, not a folder"):
            find_images(save_image(tmp_path / "one.png"))


class TestLoadImage:
    @pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "1", "P"])
    def test_every_mode_becomes_rgb(self, tmp_path, mode):
        path = tmp_path / "x.tiff"
        Image.new("RGB", (5, 7), (255, 255, 255)).convert(mode).save(path)
        image = load_image(path)
        assert (image.mode, image.size) == ("RGB", (5, 7))
        assert np.all(np.asarray(image) == 255)

    def test_a_transparent_palette_image_loads_without_a_warning(self, tmp_path):
        path = tmp_path / "x.png"
        Image.new("P", (4, 4)).save(path, transparency=b"\x00\xff")
        assert load_image(path).mode == "RGB"

    def test_a_missing_image_is_named(self, tmp_path):
        with pytest.raises(DataError, match=r"no image file .*gone\.png"):
            load_image(tmp_path / "gone.png")

    def test_a_text_file_is_not_an_image(self, tmp_path):
        (tmp_path / "x.png").write_text("not pixels")
        with pytest.raises(DataError, match=r"x\.png is not an image"):
            load_image(tmp_path / "x.png")

    @pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tiff", "gif"])
    def test_a_truncated_image_is_named_with_the_reason(self, tmp_path, suffix):
        path = tmp_path / f"x.{suffix}"
        pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(path)
        with pytest.raises(
            DataError, match=rf"x\.{suffix} (cannot be decoded \(.|is not an image)"
        ):
            load_image(truncate(path))


class TestLoadArray:
    def test_a_batch_is_returned_as_it_was_saved(self, tmp_path):
        saved = np.random.default_rng(0).standard_normal((5, 3, 4, 4)).astype(np.float32)
        np.save(tmp_path / "x.npy", saved)
        np.testing.assert_array_equal(load_array(tmp_path / "x.npy"), saved)

    def test_one_input_becomes_a_batch_of_one(self, tmp_path):
        np.save(tmp_path / "x.npy", np.zeros((3, 4, 4), np.float32))
        assert load_array(tmp_path / "x.npy").shape == (1, 3, 4, 4)

    @pytest.mark.parametrize(
        ("array", "reason"),
        [
            (np.zeros((3, 4, 4), np.uint8), r"is uint8, expected float32.*already preprocessed"),
            (np.zeros((4, 4), np.float32), r"shape \(4, 4\), expected \(C, H, W\)"),
            (np.zeros((0, 3, 4, 4), np.float32), r"shape \(0, 3, 4, 4\)"),
            (np.array([{"a": 1}], object), r"not a readable \.npy file.*Python objects"),
        ],
    )
    def test_an_unsuitable_array_is_refused_with_the_reason(self, tmp_path, array, reason):
        np.save(tmp_path / "x.npy", array, allow_pickle=True)
        with pytest.raises(DataError, match=reason):
            load_array(tmp_path / "x.npy")

    @pytest.mark.parametrize("length", [0, 5, 100, 200])
    def test_a_truncated_array_is_refused(self, tmp_path, length):
        np.save(tmp_path / "x.npy", np.zeros((3, 4, 4), np.float32))
        (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:length])
        with pytest.raises(DataError, match=r"x\.npy is not a readable"):
            load_array(tmp_path / "x.npy")

    def test_a_missing_array_is_named(self, tmp_path):
        with pytest.raises(DataError, match=r"no array file .*gone\.npy"):
            load_array(tmp_path / "gone.npy")


class TestImageSource:
    def test_images_of_mixed_sizes_come_out_preprocessed_and_in_order(self, folder):
        source = ImageSource(folder, to_array)
        assert len(source) == 20
        assert source.names[:2] == ["00.png", "02.png"]
        batch = np.stack(source[3:6])  # of class0: images 6, 8 and 10
        assert batch.dtype == np.float32
        np.testing.assert_allclose(batch[:, 0], np.full((3, 4, 4), [[[6]], [[8]], [[10]]]) / 255)
        np.testing.assert_array_equal(source[-1], source[19])

    def test_one_image_is_a_source_of_one(self, tmp_path):
        source = ImageSource(save_image(tmp_path / "x.png"), to_array)
        assert source.names == ["x.png"]
        assert source[0].shape == (3, 4, 4)

    def test_a_limit_draws_from_all_classes_and_repeats_with_the_seed(self, folder):
        drawn = ImageSource(folder, to_array, limit=10, seed=1)
        again = ImageSource(folder, to_array, limit=10, seed=1)
        other = ImageSource(folder, to_array, limit=10, seed=2)
        assert drawn.names == again.names != other.names
        assert len(set(drawn.names)) == 10
        assert {int(name[:2]) % 2 for name in drawn.names} == {0, 1}

    def test_a_limit_above_the_number_of_images_keeps_them_all(self, folder):
        assert len(ImageSource(folder, to_array, limit=99)) == 20

    def test_a_limit_of_zero_is_refused(self, folder):
        with pytest.raises(DataError, match="limit is 0"):
            ImageSource(folder, to_array, limit=0)

    def test_a_corrupt_image_within_the_share_is_skipped_and_named(self, folder):
        bad = truncate(folder / "class0" / "04.png")  # one of twenty: exactly 5 %
        source = ImageSource(folder, to_array)
        assert [path for path, _ in source.skipped] == [bad]
        assert "04.png" in source.skipped[0][1]
        assert len(source) == 19
        assert "04.png" not in source.names

    def test_more_corrupt_images_than_the_share_are_all_listed(self, folder):
        truncate(folder / "class0" / "04.png")
        truncate(folder / "class1" / "09.png")
        with pytest.raises(
            DataError, match=r"(?s)2 of 20 files are unreadable.*5%.*04\.png.*09\.png"
        ):
            ImageSource(folder, to_array)
        assert len(ImageSource(folder, to_array, max_bad_fraction=0.1).skipped) == 2

    def test_a_corrupt_single_image_is_an_error_and_not_skipped(self, tmp_path):
        with pytest.raises(DataError, match=r"x\.png (cannot be decoded|is not an image)"):
            ImageSource(truncate(save_image(tmp_path / "x.png")), to_array)

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("gone.png", r"no image file .*gone\.png"),
            ("gone.npy", r"no array file .*gone\.npy"),
            ("gone", r"no folder .*gone\. Expected images"),
        ],
    )
    def test_a_missing_source_is_named_as_what_it_should_be(self, tmp_path, name, reason):
        with pytest.raises(DataError, match=reason):
            ImageSource(tmp_path / name, to_array)

    def test_a_file_that_is_no_image_says_what_is_expected(self, tmp_path):
        (tmp_path / "labels.csv").write_text("seen,3")
        with pytest.raises(DataError, match=r"labels\.csv is a file, not a folder\. Expected"):
            ImageSource(tmp_path / "labels.csv", to_array)

    def test_rows_of_an_array_file_are_inputs_as_they_are(self, tmp_path):
        saved = np.random.default_rng(0).standard_normal((3, 3, 4, 4))
        np.save(tmp_path / "x.npy", saved)
        source = ImageSource(tmp_path / "x.npy", to_array)
        assert source.names == ["x.npy[0]", "x.npy[1]", "x.npy[2]"]
        assert source[2].dtype == np.float32
        np.testing.assert_array_equal(np.stack(source[:]), saved.astype(np.float32))

    def test_arrays_of_mixed_sizes_are_refused_with_their_shapes(self, tmp_path):
        np.save(tmp_path / "a.npy", np.zeros((3, 4, 4), np.float32))
        np.save(tmp_path / "b.npy", np.zeros((3, 5, 4), np.float32))
        with pytest.raises(
            DataError, match=r"a\.npy \(3, 4, 4\), b\.npy \(3, 5, 4\).*not\s+resized"
        ):
            ImageSource(tmp_path, to_array)
