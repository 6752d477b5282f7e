"""What a machine can tell about the written analysis of lab 6: questions, figures, honesty.

It finds headings and numbers. Whether the reasons are right is for people to say.
"""

import re

from trtlab.checks.report6 import figures_of
from trtlab.results import Results

QUESTIONS = {
    "Deployment": "which engine you would deploy for the latency budget",
    "INT8": "why INT8 is, or is not, four times as fast",
    "Batch size": "which batch size to serve with",
    "Accuracy": "what the evidence for the accuracy is",
    "Bottleneck": "what limits each engine: the roofline",
    "Next": "what you would measure next",
}
"""Heading -> what stands under it."""

FEWEST_WORDS = 25
FEWEST_FIGURES = 5

MOST_DIGITS = 15  # of a figure: more than a float holds are none
_NUMBER = re.compile(r"(?<![\w.,])[-+−]?\d[\d,]*(?:\.\d+)?")


def answers(text: str) -> dict[str, str]:
    """Return what stands under each heading of QUESTIONS; "" where there is none."""
    parts = dict.fromkeys(QUESTIONS, "")
    current: str | None = None
    for line in text.splitlines():
        title = _title(line.strip())
        if title:
            current = next((name for name in QUESTIONS if name.lower() in title.lower()), None)
        elif current is not None:
            parts[current] += line + "\n"
    return parts


def _title(line: str) -> str:
    """Return the text of a Markdown heading or of a line in bold; "" if a line is neither."""
    if line.startswith("#"):
        return line.strip("# \t")
    bold = line.removesuffix(":")
    inner = bold[2:-2]
    return inner if bold == f"**{inner}**" and "*" not in inner else ""


def words(text: str) -> int:
    """Return the number of words."""
    return len(re.findall(r"[^\W\d_]{2,}", text))


def own_figures(text: str, results: Results) -> list[str]:
    """Return the numbers in a text that stand in the results, as written, each once.

    A number counts if a figure of the results rounds to it and it has two digits at least, or
    three if it is whole, so that a batch size or the 4 of "4x" is not taken for a measurement.
    """
    measured = [abs(value) for value in figures_of(results).values() if value]
    measured += [
        abs(bound)
        for runner in results.runners
        if runner.accuracy_change
        for bound in (runner.accuracy_change.low, runner.accuracy_change.high)
    ]
    quoted = dict.fromkeys(_NUMBER.findall(text))
    return [number for number in quoted if _rounds_to(number, measured)]


def _rounds_to(number: str, measured: list[float]) -> bool:
    plain = number.lstrip("+-−").replace(",", "")
    decimals = len(plain.partition(".")[2])
    if not (2 if decimals else 3) <= len(plain.replace(".", "").lstrip("0")) <= MOST_DIGITS:
        return False
    half = 0.5 * 10**-decimals
    # A whole number such as 77,900 is taken as rounded to three digits.
    if decimals == 0:
        half = max(half, 0.5 * 10 ** (len(plain) - 3))
    return any(abs(float(plain) - value) <= half * 1.001 for value in measured)


def says_where(text: str, results: Results) -> bool:
    """Return whether a text says that the run was emulated, or on which GPU it was."""
    lower = text.lower()
    if results.emulated:
        return "emulat" in lower
    gpu = results.machine.gpu.name if results.machine.gpu else ""
    return any(word.lower() in lower for word in gpu.split() if word.upper() != "NVIDIA")


def mentions_tail(text: str) -> bool:
    """Return whether a text argues with a high percentile."""
    return re.search(r"\bp ?9[59]\b|9[59](th|\s?%)|percentile|\btail\b", text.lower()) is not None


def mentions_interval(text: str) -> bool:
    """Return whether a text gives the uncertainty of what it says."""
    pattern = r"interval|confidence|±|\+/-|mcnemar|inconclusive|standard error"
    return re.search(pattern, text.lower()) is not None
