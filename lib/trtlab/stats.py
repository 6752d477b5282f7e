"""The statistics behind a figure: percentiles, intervals and the paired test. Pure functions.

Every interval here is a 95 % one.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


def percentile(ordered: Sequence[float] | NDArray[np.float64], percent: float) -> float:
    """Return the `percent` percentile of values in ascending order, as trtexec defines it.

    It is always one of the values: for p99 of 100 values the largest but one, the smallest that at
    most 1 % of them exceed.
    Source: TensorRT, samples/common/sampleReporting.cpp, findPercentile.

    Raises:
        ValueError: if there are no values, or `percent` is not within 0 to 100.
    """
    count = len(ordered)
    if count == 0 or not 0 <= percent <= 100:
        raise ValueError(f"no {percent} percentile of {count} values")
    exceeding = int((1 - percent / 100) * count)
    return float(ordered[max(count - 1 - exceeding, 0)])


def bootstrap_median(
    values: NDArray[np.float64], seed: int = 0, resamples: int = 2000
) -> tuple[float, float, float]:
    """Return the median of `values` and its bootstrap percentile interval: (median, low, high).

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    picks = np.random.default_rng(seed).integers(0, len(values), (resamples, len(values)))
    medians = np.median(values[picks], axis=1)  # (resamples,)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(np.median(values)), float(low), float(high)


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion, within 0 to 1.

    Unlike the mean plus or minus two standard errors it is sound near 0 and 1.
    Source: Wilson, Probable Inference, JASA 22, 1927.
    """
    share = successes / trials
    z2 = Z95**2 / trials
    centre = share + z2 / 2
    reach = math.sqrt(z2 * (share * (1 - share) + z2 / 4))
    # At 0 and 1 the bound is exact; rounding must not push it off the share itself.
    low, high = (centre - reach) / (1 + z2), (centre + reach) / (1 + z2)
    return min(max(low, 0.0), share), max(min(high, 1.0), share)


def tango_interval(gained: int, lost: int, trials: int) -> tuple[float, float]:
    """Return the interval of (gained - lost) / trials for two runners on the same `trials` images.

    `gained` and `lost` count the images on which exactly one of the two is right. Unlike a
    bootstrap the interval does not shrink to nothing where both agree on every image: 1,000 images
    without a difference still leave 0.4 points open.
    Source: Tango, Equivalence test and confidence interval for the difference in proportions for
    the paired-sample design, Statistics in Medicine 17, 1998.
    """
    difference = (gained - lost) / trials

    def score(delta: float) -> float:
        """Tango's statistic for the hypothesis that the true difference is `delta`."""
        b = -gained - lost + (2 * trials - gained + lost) * delta
        c = -lost * delta * (1 - delta)
        share = (math.sqrt(max(b * b - 8 * trials * c, 0.0)) - b) / (4 * trials)
        variance = trials * (2 * share + delta * (1 - delta))
        distance = gained - lost - trials * delta
        return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)

    low = -1.0 if difference <= -1 else _root(lambda d: score(d) - Z95, -1.0, difference)
    high = 1.0 if difference >= 1 else _root(lambda d: score(d) + Z95, difference, 1.0)
    return low, high


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Return where a falling function crosses zero between `low` and `high`, by bisection."""
    for _ in range(60):
        middle = (low + high) / 2
        if falling(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def mcnemar_p(gained: int, lost: int) -> float:
    """Return the two-sided p-value of McNemar's exact test that neither runner is better.

    Source: McNemar, Psychometrika 12, 1947; the exact form is a sign test.
    """
    discordant = gained + lost
    tail = sum(math.comb(discordant, k) for k in range(min(gained, lost) + 1))
    return min(1.0, 2 * tail / 2**discordant)
