"""A sample as its median with a 95 % interval, the way the sections write it into their JSON."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trtlab.stats import bootstrap_median


def interval(values: Sequence[float] | NDArray[np.float64]) -> dict[str, float]:
    """Return "median", its bootstrap bounds "low" and "high", and the "count" of values."""
    median, low, high = bootstrap_median(np.asarray(values))
    return {"median": median, "low": low, "high": high, "count": len(values)}
