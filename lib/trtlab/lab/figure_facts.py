"""What can be read off a Matplotlib figure: labels, texts, and the numbers that are drawn."""

import math
from collections.abc import Iterable, Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text


def axis_labels(figure: Figure) -> list[str]:
    """Return the labels of all axes that are not empty."""
    labels = [label for axes in figure.axes for label in (axes.get_xlabel(), axes.get_ylabel())]
    return [label for label in labels if label]


def written(figure: Figure) -> list[str]:
    """Return every other text on the figure: titles, legends, tick labels, annotations."""
    labels = set(axis_labels(figure))
    for axes in figure.axes:  # asking for them makes the tick labels, which drawing would do later
        axes.get_xticklabels(), axes.get_yticklabels()
    texts = [artist.get_text() for artist in figure.findobj(Text)]
    return [text for text in dict.fromkeys(texts) if text.strip() and text not in labels]


def drawn(figure: Figure) -> list[float]:
    """Return every number that is drawn as data, on any axis, each as often as it is drawn.

    Bars give where they begin and end, lines and markers their points, error bars their ends. A
    reference line across the whole axes (`axhline`) is no data.
    """
    return [
        float(value)
        for axes in figure.axes
        for value in _values(axes)
        if value is not None and math.isfinite(value)
    ]


def _values(axes: Axes) -> Iterator[float]:
    for patch in axes.patches:
        # The same transformation, not an equal one: over 0 to 1, axes and data coordinates agree.
        if isinstance(patch, Rectangle) and patch.get_data_transform() is axes.transData:
            yield from _bar_ends(patch)
    for line in axes.lines:
        if line.get_transform() is axes.transData:
            yield from _flat(line.get_xydata())
    for collection in axes.collections:
        if isinstance(collection, PathCollection):  # scatter
            yield from _flat(np.ma.filled(collection.get_offsets(), np.nan))
        elif isinstance(collection, LineCollection):  # error bars, hlines, vlines
            for segment in collection.get_segments():
                yield from _flat(segment)


def _bar_ends(bar: Rectangle) -> Iterable[float]:
    if not bar.get_width() or not bar.get_height():
        return ()
    x, y = bar.get_xy()
    return (bar.get_width(), bar.get_height(), x + bar.get_width(), y + bar.get_height())


def _flat(points: object) -> Iterable[float]:
    return [float(value) for value in np.asarray(points, dtype=float).ravel()]
