"""What a figure shows: numbers read off and texts found, however they were drawn."""

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure

from trtlab.lab.figure_facts import axis_labels, drawn, written


@pytest.mark.parametrize(
    "draw",
    [
        lambda axes: axes.bar([0, 1], [3.5, 7]),
        lambda axes: axes.barh([0, 1], [3.5, 7]),
        lambda axes: axes.plot([0, 1], [3.5, 7]),
        lambda axes: axes.scatter([0, 1], [3.5, 7]),
        lambda axes: axes.step([0, 1], [3.5, 7]),
        lambda axes: axes.errorbar([0, 1], [3.5, 7], 0.5),
        lambda axes: axes.errorbar([0, 1], [5, 5], [[1.5, 1], [1, 2]]),
        lambda axes: axes.vlines([0, 1], 0, [3.5, 7]),
        lambda axes: axes.bar([0], [3.5]) and axes.bar([0], [3.5], bottom=3.5),
    ],
)
def test_numbers_are_read_off_however_they_are_drawn(draw: Callable[..., object]) -> None:
    figure = Figure()
    draw(figure.subplots())
    assert {3.5, 7.0} <= set(drawn(figure))


@pytest.mark.parametrize(
    "draw",
    [
        lambda axes: axes.axhline(3.5),
        lambda axes: axes.axvline(3.5),
        lambda axes: axes.axhspan(3.5, 4),
        lambda axes: axes.plot([], []),
        lambda axes: axes.bar([0], [0]),
        lambda axes: axes.text(0, 0, "3.5"),
        lambda axes: axes.plot([0], [np.nan]) and axes.set_xlim(0, 3.5),
    ],
)
def test_what_shows_no_data_counts_for_nothing(draw: Callable[..., object]) -> None:
    figure = Figure()
    draw(figure.subplots())
    assert not [value for value in drawn(figure) if value]


def test_every_text_is_found() -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1, 2], [1, 2], label="legend")
    axes.legend()
    axes.set(title="title", xlabel="x (ms)", ylabel="y")
    axes.set_xticks([1], ["tick"])
    axes.annotate("note", (1, 1))
    figure.suptitle("badge")
    assert axis_labels(figure) == ["x (ms)", "y"]
    assert {"legend", "title", "tick", "note", "badge"} <= set(written(figure))
