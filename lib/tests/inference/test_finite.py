"""require_finite: every value counts, in small arrays and in large ones, which go another way."""

import numpy as np
import pytest

from trtlab.errors import InputError
from trtlab.tensors import _LARGE_BYTES, require_finite

SIZES = [12, _LARGE_BYTES // 4, _LARGE_BYTES // 4 + 1]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bad", [[np.nan], [np.inf], [-np.inf], [np.inf, -np.inf]])
def test_one_value_is_enough(size, bad):
    array = np.ones(size, np.float32)
    array[-len(bad) :] = bad
    with pytest.raises(InputError, match=f"'image' holds {len(bad)} values that are NaN"):
        require_finite(array, "image")


@pytest.mark.parametrize("size", SIZES)
def test_values_whose_squares_overflow_are_finite(size):
    require_finite(np.full(size, 3e38, np.float32), "image")


def test_other_dtypes_are_looked_at_as_well():
    array = np.ones(_LARGE_BYTES, np.float16)
    require_finite(array, "image")
    array[7] = np.inf
    with pytest.raises(InputError, match="holds 1 values"):
        require_finite(array, "image")
