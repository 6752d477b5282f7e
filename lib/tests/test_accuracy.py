import numpy as np
import pytest
import torch

from trtlab.accuracy import Hits, accuracy_change, accuracy_stats, count_hits, measure_accuracy
from trtlab.errors import DataError, InferenceError


def scores(images):
    """Score an image (1, 1, classes) by itself: it holds its own logits."""
    return images[:, 0, 0, :]


@pytest.fixture
def data():
    """Random logits as images (N, 1, 1, 10), and random labels (N,)."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((97, 1, 1, 10), dtype=np.float32), rng.integers(0, 10, 97)


def in_batches(images, labels, size=20):
    return [(images[i : i + size], labels[i : i + size]) for i in range(0, len(labels), size)]


def test_top1_and_top5_agree_with_torch_topk(data):
    images, labels = data
    best = torch.topk(torch.from_numpy(images[:, 0, 0]), 5).indices.numpy()
    found = measure_accuracy(scores, in_batches(images, labels))
    assert found.images == 97
    assert found.top1 == pytest.approx(100 * np.mean(best[:, 0] == labels))
    among_five = [label in row for label, row in zip(labels, best, strict=True)]
    assert found.top5 == pytest.approx(100 * np.mean(among_five))
    assert found.top1_low < found.top1 < found.top1_high


def test_tensors_and_arrays_are_the_same_to_it(data):
    images, labels = data
    tensors = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in in_batches(images, labels)]
    assert measure_accuracy(scores, tensors) == measure_accuracy(scores, in_batches(images, labels))


@pytest.mark.parametrize("limit", [1, 20, 33, 97, 500])
def test_a_limit_takes_the_first_images(data, limit):
    images, labels = data
    expected = measure_accuracy(scores, [(images[:limit], labels[:limit])])
    assert measure_accuracy(scores, in_batches(images, labels), limit) == expected


def test_a_limit_reads_no_batch_too_many(data):
    images, labels = data
    loader = iter(in_batches(images, labels))
    measure_accuracy(scores, loader, limit=40)
    assert len(list(loader)) == 3


def test_several_runners_see_the_same_images_of_a_loader_read_once(data):
    images, labels = data
    hits = count_hits({"a": scores, "b": lambda x: -scores(x)}, iter(in_batches(images, labels)))
    assert (hits["a"].top1 == (images[:, 0, 0].argmax(1) == labels)).all()
    assert (hits["b"].top1 == (images[:, 0, 0].argmin(1) == labels)).all()


def test_a_constant_output_is_not_mistaken_for_a_good_one(data):
    images, labels = data
    found = measure_accuracy(lambda x: np.zeros((len(x), 10)), in_batches(images, labels))
    assert found.top1 == pytest.approx(100 * np.mean(labels == 0))


def test_an_empty_loader_is_refused():
    with pytest.raises(DataError, match="loader is empty"):
        measure_accuracy(scores, [])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_single_value_that_is_not_finite_is_an_error(data, bad):
    images, labels = data
    images[13, 0, 0, 3] = bad
    with pytest.raises(InferenceError, match="int8 returned NaN or infinity"):
        count_hits({"int8": scores}, in_batches(images, labels))


@pytest.mark.parametrize("broken", [lambda x: scores(x)[:-1], lambda x: scores(x)[0]])
def test_anything_but_one_row_per_image_is_an_error(data, broken):
    with pytest.raises(InferenceError, match=r"shape \(.*\) for 20 images"):
        measure_accuracy(broken, in_batches(*data))


def test_the_change_counts_the_images_that_only_one_gets_right():
    def hits(*right):
        return Hits(top1=np.array(right, bool), top5=np.ones(len(right), bool))

    change = accuracy_change(hits(1, 1, 1, 0, 0, 1, 1, 1), hits(1, 0, 0, 1, 0, 1, 1, 0))
    assert (change.gained, change.lost, change.images) == (1, 3, 8)
    assert change.points == pytest.approx(-25.0)
    assert change.low < -25 < change.high
    assert change.p_value == pytest.approx(2 * (1 + 4) / 16)


def test_all_right_leaves_room_below_and_none_above():
    right = np.ones(100, bool)
    found = accuracy_stats(Hits(top1=right, top5=right))
    assert (found.top1, found.top1_high) == (100, 100)
    assert 95 < found.top1_low < 97
