"""The smallest batch, batches in chunks, and what is advised about a shape that does not fit."""

import numpy as np
import pytest

from trtlab.errors import InputError
from trtlab.tensors import ProfileShapes, TensorSpec, in_chunks, require_fit, smallest_batch


def spec(shape, *batches):
    """Return an input of this shape, with a profile for each (min, opt, max) of the batch."""
    profiles = [ProfileShapes(*((batch, *shape[1:]) for batch in three)) for three in batches]
    return TensorSpec("x", np.dtype(np.float32), shape, tuple(profiles))


def test_the_smallest_batch_is_the_profiles_own():
    inputs = {"x": spec((-1, 3, 8, 8), (1, 2, 4), (5, 6, 8))}
    assert [smallest_batch(inputs, profile) for profile in (0, 1)] == [1, 5]
    assert smallest_batch({"x": spec((4, 3, 8, 8), (4, 4, 4))}, 0) == 4


def test_a_scalar_counts_as_a_batch_of_one():
    scalar = TensorSpec("x", np.dtype(np.float32), (), (ProfileShapes((), (), ()),))
    assert smallest_batch({"x": scalar}, 0) == 1


@pytest.mark.parametrize(("smallest", "largest"), [(1, 4), (4, 4), (3, 5), (1, None), (8, None)])
@pytest.mark.parametrize("count", [1, 3, 4, 6, 8, 9])
def test_a_batch_of_any_size_is_answered_row_by_row(smallest, largest, count):
    def predict(rows):
        assert smallest <= len(rows) <= (largest or len(rows))
        return 2 * rows

    batch = np.random.default_rng(0).standard_normal((count, 2, 3))
    given = batch.copy()
    np.testing.assert_array_equal(in_chunks(predict, smallest, largest)(batch), 2 * given)
    np.testing.assert_array_equal(batch, given)


def test_a_wrong_number_of_answers_is_not_put_right_by_filling_up():
    twice = in_chunks(lambda rows: np.concatenate([rows, rows]), 4, 4)
    assert len(twice(np.zeros((3, 2)))) != 3


@pytest.mark.parametrize(
    ("shape", "advice", "else_"),
    [
        ((3, 8, 8), r"np\.newaxis", "preprocessing"),
        ((1, 3, 8, 8), "batch is fixed: split it or fill it up", "newaxis"),
        ((4, 3, 9, 9), "Check the preprocessing", "newaxis"),
        ((4, 3, 8, 8, 1), "Check the preprocessing", "newaxis"),
        ((8, 8), "Check the preprocessing", "newaxis"),
    ],
)
def test_the_advice_fits_what_is_wrong_with_the_shape(shape, advice, else_):
    with pytest.raises(InputError, match=advice) as refusal:
        require_fit(np.zeros(shape, np.float32), spec((4, 3, 8, 8), (4, 4, 4)), 0)
    assert else_ not in str(refusal.value)
