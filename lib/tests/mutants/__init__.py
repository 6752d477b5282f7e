"""Plausible wrong solutions, as small patches of the reference notebooks.

labN.py holds `MUTANTS` of lab N. Two more names there make its notebook run faster: `SHRINK`,
replacements of text, and `UNCHECKED`, ids of cells whose results no check looks at.
labs/test_mutants.py holds every mutant to its word.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """One replacement in a solution cell, and what it must cost.

    Attributes:
        name: what the student did, in words: "forgets the FP16 flag".
        task: the task in whose solution the mistake is.
        old, new: text that occurs once in the notebook's code, and what stands there instead.
        lost: points lost, by task; no other task may lose any. None: some, but no fixed number.
        misconception: the key that a card of one of the tasks in `lost` must name.
    """

    name: str
    task: str
    old: str
    new: str
    lost: Mapping[str, float | None]
    misconception: str | None = None


def labs_with_mutants() -> list[int]:
    """Return the numbers of the labs that have a module here."""
    return sorted(
        int(path.stem.removeprefix("lab")) for path in Path(__file__).parent.glob("lab?.py")
    )


def mutants_of(lab: int) -> list[Mutant]:
    """Return the mutants of one lab."""
    return list(importlib.import_module(f"mutants.lab{lab}").MUTANTS)


def shrink_of(lab: int) -> dict[str, str]:
    """Return the replacements that make a lab's notebook run faster."""
    return dict(getattr(importlib.import_module(f"mutants.lab{lab}"), "SHRINK", {}))


def unchecked_of(lab: int) -> tuple[str, ...]:
    """Return the ids of the cells that a run for the checks alone may leave out."""
    return tuple(getattr(importlib.import_module(f"mutants.lab{lab}"), "UNCHECKED", ()))
