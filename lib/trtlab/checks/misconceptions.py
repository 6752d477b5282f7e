"""The mistakes that students make most, by name: what the check recognised, and why it matters.

A finding carries a key of MISCONCEPTIONS; the card shows title and explanation, the instructor's
report counts the keys. The texts say what is going on and never give the solution away: that is
what the hints are for.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Misconception:
    """A wrong idea behind a wrong solution."""

    title: str
    explanation: str


MISCONCEPTIONS: dict[str, Misconception] = {}


def misconception(key: str, title: str, explanation: str) -> str:
    """Register a misconception and return its key; lab modules call it at import."""
    if key in MISCONCEPTIONS:
        raise ValueError(f"the misconception {key!r} is registered twice")
    MISCONCEPTIONS[key] = Misconception(title, explanation)
    return key
