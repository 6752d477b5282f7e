"""The small charts of both reports, as inline SVG: bars, a histogram, quartiles.

Plain SVG and not matplotlib's: colours come from the page's stylesheet and follow light and dark,
words stay words for search and screen readers, and nothing needs inline styles, which the page's
content security policy forbids. Grey is for people's points as in trtlab.plot_style, whose green
stands for TensorRT; the green of a passed check is the card's.
"""

from collections.abc import Iterable, Sequence
from statistics import median, quantiles
from xml.etree import ElementTree as ET

from markupsafe import Markup

from trtlab_grader.reports.text import points

HISTOGRAM_BINS = 10


def stacked_bar(parts: Iterable[tuple[str, float]], whole: float, label: str) -> Markup:
    """Return a bar as wide as its place, in which each part is (CSS class, amount) of `whole`.

    Parts beyond the whole, as by extra credit, are cut off.
    """
    svg = _svg("0 0 100 10", label, "bar", preserveAspectRatio="none")
    _add(svg, "rect", "rest", x=0, y=0, width=100, height=10)
    left = 0.0
    for name, amount in parts:
        width = min(100 * amount / whole if whole else 0.0, 100 - left)
        if width > 0:
            _add(svg, "rect", name, x=left, y=0, width=width, height=10)
            left += width
    return _markup(svg)


def spread(values: Sequence[float], most: float, label: str) -> Markup:
    """Return least to largest as a line, the quartiles as a box and the median as a mark."""
    svg = _svg("0 0 100 10", label, "spread", preserveAspectRatio="none")
    _add(svg, "rect", "rest", x=0, y=4.6, width=100, height=0.8)
    if values:
        low, middle, high = _quartiles(values)
        at = [100 * min(v, most) / most for v in (min(values), low, middle, high, max(values))]
        _add(svg, "rect", "whisker", x=at[0], y=4, width=at[4] - at[0], height=2)
        _add(svg, "rect", "box", x=at[1], y=1.5, width=at[3] - at[1], height=7)
        _add(svg, "rect", "median", x=min(at[2], 99.2), y=0, width=0.8, height=10)
    return _markup(svg)


def histogram(values: Sequence[float], most: float) -> Markup:
    """Return how many values are in each tenth of 0 to `most`; the last one holds `most` too."""
    counts = [0] * HISTOGRAM_BINS
    for value in values:
        place = int(value / most * HISTOGRAM_BINS)
        counts[max(0, min(place, HISTOGRAM_BINS - 1))] += 1
    width, height, left, top, base = 720, 265, 40, 46, 220
    label = "Students by total points: " + ", ".join(
        f"{_range(i, most)}: {count}" for i, count in enumerate(counts) if count
    )
    svg = _svg(f"0 0 {width} {height}", label, "histogram")
    step = (width - left - 10) / HISTOGRAM_BINS
    tallest = max(counts) or 1
    for i, count in enumerate(counts):
        x, tall = left + i * step, (base - top) * count / tallest
        if count:
            _add(svg, "rect", "count", x=x + 3, y=base - tall, width=step - 6, height=tall, rx=2)
            _word(svg, x + step / 2, base - tall - 6, str(count), "figure")
        _word(svg, x + step / 2, base + 20, _range(i, most), "tick")
    _add(svg, "line", "axis", x1=left, y1=base, x2=width - 10, y2=base)
    _word(svg, (left + width - 10) / 2, height - 4, "points", "tick")
    if values:
        middle = median(values)
        x = left + (width - left - 10) * min(max(middle / most, 0.0), 1.0)
        _add(svg, "line", "median-line", x1=x, y1=top - 26, x2=x, y2=base)
        _word(
            svg,
            x + (6 if x < width - 120 else -6),
            top - 20,
            f"median {points(middle)}",
            "note" if x < width - 120 else "note end",
        )
    return _markup(svg)


def _range(index: int, most: float) -> str:
    step = most / HISTOGRAM_BINS
    return f"{step * index:g} to {step * (index + 1):g}"


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return low, middle, high


def _svg(view: str, label: str, name: str, **attributes: str) -> ET.Element:
    return ET.Element(
        "svg", {"viewBox": view, "role": "img", "aria-label": label, "class": name, **attributes}
    )


def _add(svg: ET.Element, tag: str, name: str, **numbers: float) -> None:
    ET.SubElement(svg, tag, {"class": name, **{k: f"{v:.4g}" for k, v in numbers.items()}})


def _word(svg: ET.Element, x: float, y: float, word: str, name: str) -> None:
    ET.SubElement(svg, "text", {"class": name, "x": f"{x:.4g}", "y": f"{y:.4g}"}).text = word


def _markup(svg: ET.Element) -> Markup:
    return Markup(ET.tostring(svg, encoding="unicode"))
