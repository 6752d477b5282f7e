"""Each plausible wrong solution loses the points that it should, and no others.

Speed and engine size are not judged on the emulation, so that there is nothing to lose in these
tasks; test_lab2 and test_lab3 hold their checks against made-up evidence.
"""

import importlib
from collections import Counter
from collections.abc import Callable

import pytest

from labs.conftest import Verdicts
from labs.harness import labs_present, run_notebook
from mutants import Mutant, labs_with_mutants, mutants_of, shrink_of, unchecked_of
from trtlab.backend import IS_EMULATED
from trtlab.checks.misconceptions import MISCONCEPTIONS
from trtlab.checks.registry import checked_tasks
from trtlab.checks.tasks import TASKS

ALL = [mutant for lab in labs_with_mutants() for mutant in mutants_of(lab)]
FEWEST_MUTANTS = 45
FEWEST_PER_TASK = 2
FEWEST_MISCONCEPTIONS = 25


@pytest.fixture(scope="module", autouse=True)
def checks() -> None:
    """Checks and misconceptions register themselves when their module is imported."""
    for lab in labs_present():
        importlib.import_module(f"trtlab.checks.lab{lab}")


@pytest.mark.mutants
@pytest.mark.skipif(not IS_EMULATED, reason="the points in `lost` are those on the emulation")
@pytest.mark.parametrize("mutant", ALL, ids=lambda m: f"{m.task}-{m.name}".replace(" ", "-"))
def test_a_mutant_loses_what_it_should_and_nothing_else(
    mutant: Mutant, reference: Callable[[int], Verdicts]
) -> None:
    lab = TASKS[mutant.task].lab
    before = reference(lab)
    patch = (mutant.old, mutant.new)
    after = run_notebook(lab, [patch], shrink_of(lab), skip=unchecked_of(lab)).verdicts
    assert after.keys() == before.keys(), "a check raised"

    lost = {task: round(before[task].points - after[task].points, 2) for task in before}
    lost = {task: points for task, points in lost.items() if points}
    assert lost.keys() == mutant.lost.keys(), f"lost {lost}"
    fixed = {task: points for task, points in mutant.lost.items() if points is not None}
    assert {task: lost[task] for task in fixed} == pytest.approx(fixed)
    if mutant.misconception is not None:
        named = [key for task in mutant.lost for key in after[task].misconceptions]
        assert mutant.misconception in named


def test_there_are_mutants_for_every_lab() -> None:
    assert labs_with_mutants() == labs_present()


def test_there_are_as_many_mutants_as_promised() -> None:
    assert len(ALL) >= FEWEST_MUTANTS


def test_no_two_mutants_are_the_same() -> None:
    twice = [patch for patch, n in Counter((m.old, m.new) for m in ALL).items() if n > 1]
    assert not twice


def test_every_check_is_killed_by_two_mutants_at_least() -> None:
    killed = Counter(task for mutant in ALL for task in mutant.lost)
    judged_here = [t for t in checked_tasks() if TASKS[t].category != "performance"]
    assert judged_here, "no lab registered a check"
    assert {task: killed[task] for task in judged_here if killed[task] < FEWEST_PER_TASK} == {}


def test_every_misconception_is_triggered_by_a_mutant() -> None:
    assert len(MISCONCEPTIONS) >= FEWEST_MISCONCEPTIONS
    assert set(MISCONCEPTIONS) == {m.misconception for m in ALL if m.misconception}


def test_every_task_is_checked_or_graded_by_hand() -> None:
    # Some of those graded by hand have a check, too, which counts for nothing.
    by_hand = {number for number, task in TASKS.items() if task.category == "documentation"}
    assert set(checked_tasks()) >= set(TASKS) - by_hand
