"""The drawn digits: what decides a picture, what must not, and that no split leaks into another."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from trtlab import drawing
from trtlab.data import SPLITS, normalise
from trtlab.digits import DigitsDataset, source_images, split_sources, training_batches
from trtlab.drawing import NUMBERS, OTHERS, SIZE
from trtlab.errors import DataError


def test_every_source_image_is_in_exactly_one_split():
    everything = np.concatenate([split_sources(split) for split in SPLITS])
    assert sorted(everything) == list(range(1797))


def test_the_held_out_splits_are_stratified():
    labels = source_images()[1]
    assert np.bincount(labels[split_sources("validation")]).tolist() == [50] * 10
    assert np.bincount(labels[split_sources("calibration")]).tolist() == [15] * 10
    assert np.bincount(labels[split_sources("train")]).min() >= 100


def test_the_split_is_the_published_one():
    # Shipped weights were trained on this split: another one would validate on trained images.
    assert split_sources("validation")[:5].tolist() == [0, 1, 2, 8, 9]
    assert int(split_sources("train").sum()) == 1_026_820


def test_a_sample_is_a_normalised_picture_with_the_label_of_its_source():
    dataset = DigitsDataset("validation", 3)
    image, label = dataset[0]
    assert image.shape == (3, SIZE, SIZE)
    assert image.dtype == torch.float32
    assert label == dataset.label(0)
    pictures, labels = dataset.draw([0])
    assert pictures.dtype == torch.uint8
    assert torch.equal(image, normalise(pictures[0]))
    assert labels.tolist() == [label]


def test_a_sample_depends_on_neither_batch_nor_order_nor_size():
    reference, labels = DigitsDataset("validation", 600, seed=5).draw(range(20))
    dataset = DigitsDataset("validation", 20, seed=5)
    for index in range(20):
        assert torch.equal(dataset.draw([index])[0][0], reference[index])
    shuffled = [13, 14, 15, 2, 19, 0]
    again, again_labels = dataset.draw(shuffled)
    assert torch.equal(again, reference[shuffled])
    assert torch.equal(again_labels, labels[shuffled])


def test_a_sample_does_not_depend_on_the_number_of_threads():
    before = torch.get_num_threads()
    reference = DigitsDataset("train", 6).draw(range(6))[0]
    try:
        torch.set_num_threads(before + 2)
        assert torch.equal(DigitsDataset("train", 6).draw(range(6))[0], reference)
    finally:
        torch.set_num_threads(before)


def test_a_loader_gives_the_same_samples_as_the_data_set():
    dataset = DigitsDataset("calibration", 5, seed=2)
    expected = torch.stack([dataset[index][0] for index in range(5)])
    for workers in (0, 2):
        loader = DataLoader(dataset, batch_size=2, num_workers=workers)
        assert torch.equal(torch.cat([batch for batch, _ in loader]), expected)


@pytest.mark.parametrize("other", [("validation", 1), ("calibration", 0)])
def test_another_seed_or_split_draws_other_pictures(other):
    split, seed = other
    picture = DigitsDataset("validation", 1, seed=0).draw([0])[0]
    assert not torch.equal(DigitsDataset(split, 1, seed=seed).draw([0])[0], picture)


def test_every_source_is_drawn_once_before_any_is_drawn_again():
    dataset = DigitsDataset("calibration", 300, seed=1)
    sources = [dataset._source(index) for index in range(300)]
    first, second = sources[:150], sources[150:]
    assert sorted(first) == sorted(second) == split_sources("calibration").tolist()
    assert first != second


def test_all_digits_in_a_picture_come_from_its_own_split(monkeypatch):
    # The drawing gets marked digits: each pixel says which split its source belongs to.
    images, labels = source_images()
    marked = np.zeros_like(images)
    for number, split in enumerate(SPLITS):
        marked[split_sources(split)] = number
    monkeypatch.setattr("trtlab.digits.source_images", lambda: (marked, labels))
    seen = {}

    def record(digits, others, table):
        seen[len(seen)] = {*digits.unique().tolist(), *others.unique().tolist()}
        return torch.zeros(len(table), 3, SIZE, SIZE, dtype=torch.uint8)

    monkeypatch.setattr("trtlab.digits.draw", record)
    for split in SPLITS:
        DigitsDataset(split, 200).draw(range(200))
    assert seen == {0: {0.0}, 1: {1.0}, 2: {2.0}}


def test_training_batches_never_repeat_a_picture_and_follow_the_data_set():
    batches = training_batches(2, seed=3, device="cpu")
    images = torch.cat([next(batches)[0] for _ in range(2)])
    dataset = DigitsDataset("train", 4, seed=3)
    assert torch.equal(images, torch.stack([dataset[index][0] for index in range(4)]))


def test_the_default_size_draws_each_source_once():
    assert [len(DigitsDataset(split)) for split in SPLITS] == [1147, 150, 500]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("test", 5, 0), "no split 'test'"),
        (("train", 0, 0), "at least 1"),
        (("train", 5, -1), "seed is -1"),
        (("train", 5, 2**64), "seed is"),
    ],
)
def test_impossible_data_sets_are_refused(arguments, said):
    with pytest.raises(DataError, match=said):
        DigitsDataset(*arguments)


def test_an_index_outside_the_data_set_is_an_error():
    with pytest.raises(IndexError):
        DigitsDataset("train", 5)[5]


def test_the_digit_is_drawn_where_the_placement_says():
    # Oracle: PyTorch's own affine_grid with the matrix of the same rotation, shear and scale.
    angle, scale, shear, aspect, shift = 0.4, 0.5, 0.2, 1.21, (0.3, -0.1)
    grid = drawing._placement(
        scale=torch.tensor([scale]),
        turn=torch.tensor([np.tan(angle / 2)], dtype=torch.float32),
        shear=torch.tensor([shear]),
        shift=torch.tensor([shift]),
        aspect=torch.tensor([aspect]),
    )
    rotate = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    skew = np.array([[1, -shear], [0, 1]])
    size = np.diag([1 / (scale * np.sqrt(aspect)), np.sqrt(aspect) / scale])
    matrix = size @ skew @ rotate
    theta = np.concatenate([matrix, -matrix @ np.array(shift)[:, None]], axis=1)
    expected = torch.nn.functional.affine_grid(
        torch.tensor(theta[None], dtype=torch.float32), [1, 1, SIZE, SIZE], align_corners=True
    )
    torch.testing.assert_close(grid, expected, atol=1e-5, rtol=1e-5)


def test_the_picture_follows_from_every_number_of_the_table_and_from_nothing_else():
    torch.manual_seed(0)
    digits, others = torch.rand(1, 8, 8), torch.rand(1, OTHERS, 8, 8)
    table = torch.full((1, NUMBERS), 0.4)
    reference = drawing.draw(digits, others, table)
    assert torch.equal(drawing.draw(digits, others, table.clone()), reference)
    drawing.draw(digits, others, torch.ones(1, NUMBERS))  # what float32 makes of 0.99999999
    for column in range(NUMBERS):
        changed = table.clone()
        changed[0, column] = 0.9
        assert not torch.equal(drawing.draw(digits, others, changed), reference), column
    with pytest.raises(ValueError, match="NUMBERS"):
        drawing.draw(digits, others, table[:, :-1])
