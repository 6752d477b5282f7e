import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from scipy import stats as scipy_stats
from scipy.stats import binomtest

from trtlab.stats import bootstrap_median, mcnemar_p, percentile, tango_interval, wilson_interval

times = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=60)


@given(times, st.floats(0, 100))
def test_a_percentile_is_the_smallest_value_that_few_enough_exceed(values, percent):
    ordered = sorted(values)
    allowed = (1 - percent / 100) * len(ordered)
    # Brute force over positions, since equal values would count twice.
    behind = [len(ordered) - 1 - position for position in range(len(ordered))]
    fitting = [ordered[i] for i in range(len(ordered)) if behind[i] <= allowed]
    assert percentile(ordered, percent) == fitting[0]


@given(times, st.floats(0, 100), st.floats(0, 100))
def test_percentiles_rise_with_the_percentage_and_stay_among_the_values(values, first, second):
    ordered = sorted(values)
    low, high = sorted((first, second))
    assert percentile(ordered, low) <= percentile(ordered, high)
    assert percentile(ordered, low) in values


def test_percentiles_are_those_of_trtexec():
    ordered = list(range(1, 101))
    assert [percentile(ordered, p) for p in (0, 50, 95, 99, 100)] == [1, 50, 95, 99, 100]
    assert percentile([7.0], 99) == 7.0


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], -1), ([1.0], 101)])
def test_a_percentile_of_nothing_or_out_of_range_is_refused(values, percent):
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, percent)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy(counts):
    successes, trials = counts
    expected = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert wilson_interval(successes, trials) == pytest.approx(tuple(expected), abs=1e-9)


def test_the_bootstrap_agrees_with_scipy():
    values = np.random.default_rng(3).lognormal(1.0, 0.3, 80)
    median, low, high = bootstrap_median(values, seed=1)
    expected = scipy_stats.bootstrap(
        (values,), np.median, n_resamples=4000, method="percentile", random_state=2
    ).confidence_interval
    assert median == np.median(values)
    assert (low, high) == pytest.approx(tuple(expected), rel=0.03)


def test_the_bootstrap_repeats_with_its_seed():
    values = np.random.default_rng(0).random(30)
    assert bootstrap_median(values, seed=5) == bootstrap_median(values, seed=5)
    assert bootstrap_median(values, seed=5) != bootstrap_median(values, seed=6)


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_agrees_with_the_exact_sign_test(gained, lost):
    expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar_p(gained, lost) == pytest.approx(expected)


def score_by_maximum_likelihood(gained, lost, trials, delta):
    """Tango's statistic with its nuisance parameter from a numerical optimiser."""

    def cost(share):  # the share of images that only the baseline gets right
        cells = (
            (gained, share + delta),
            (lost, share),
            (trials - gained - lost, 1 - 2 * share - delta),
        )
        return -sum(n * math.log(max(p, 1e-300)) for n, p in cells if n)

    bounds = (max(0.0, -delta), (1 - delta) / 2)
    share = optimize.minimize_scalar(
        cost, bounds=bounds, method="bounded", options={"xatol": 1e-12}
    ).x
    variance = trials * (2 * share + delta * (1 - delta))
    return (gained - lost - trials * delta) / math.sqrt(variance)


@pytest.mark.parametrize(
    ("gained", "lost", "trials"), [(0, 1, 30), (5, 9, 100), (12, 43, 4000), (30, 2, 60)]
)
def test_tango_bounds_are_where_the_score_reaches_the_normal_quantile(gained, lost, trials):
    low, high = tango_interval(gained, lost, trials)
    assert score_by_maximum_likelihood(gained, lost, trials, low) == pytest.approx(1.96, abs=1e-3)
    assert score_by_maximum_likelihood(gained, lost, trials, high) == pytest.approx(-1.96, abs=1e-3)


def test_tango_without_any_difference_has_the_closed_form_width():
    for trials in (30, 1000, 4000):
        bound = 1.959964**2 / (trials + 1.959964**2)
        assert tango_interval(0, 0, trials) == pytest.approx((-bound, bound), abs=1e-6)


def test_tango_mirrors_and_holds_the_difference():
    for gained, lost, rest in product((0, 1, 7), (0, 2, 9), (0, 1, 50)):
        trials = gained + lost + rest
        if trials == 0:
            continue
        low, high = tango_interval(gained, lost, trials)
        assert -1 <= low <= (gained - lost) / trials <= high <= 1
        assert tango_interval(lost, gained, trials) == pytest.approx((-high, -low), abs=1e-9)


def test_tango_covers_the_truth_about_19_times_in_20():
    rng = np.random.default_rng(0)
    draws = rng.multinomial(400, [0.02, 0.05, 0.93], size=600)  # gained, lost, same
    intervals = [tango_interval(int(g), int(b), 400) for g, b, _ in draws]
    covered = np.mean([low <= -0.03 <= high for low, high in intervals])
    assert 0.92 < covered < 0.98
