"""The pre-checks of 1.3, 2.5 and 3.6 find answers and figures, and leave the rest to people."""

from pathlib import Path

import pytest

from labs.harness import solution_path
from labs.test_lab6 import save, text
from trtlab.checks.explanations import QUESTIONS, answers
from trtlab.checks.registry import judge
from trtlab.checks.tasks import TASKS
from trtlab.checks.verdict import Verdict
from trtlab.lab.bench import LocalBench
from trtlab.lab.probe import Scene, evidence_of, run_probe

PART = "It has 53 of them, 122 nodes in all, and the reason is that every other one is folded."


def verdict_of(task: str, lab: Path, folder: Path) -> Verdict:
    made = folder / "made"
    made.mkdir()
    run_probe(task, {}, folder, made)
    return judge(task, evidence_of(task, Scene(folder, made, 1, lab, LocalBench())))


def verdict_on(task: str, answer: str, folder: Path) -> Verdict:
    save(folder / "lab" / "a.ipynb", text(f"task-{task.replace('.', '-')}", answer))
    return verdict_of(task, folder / "lab", folder)


def points(verdict: Verdict) -> dict[str, float]:
    return {finding.criterion: finding.points for finding in verdict.findings}


@pytest.mark.parametrize("task", QUESTIONS)
def test_the_reference_gets_half_and_a_person_gives_the_rest(task: str, tmp_path: Path) -> None:
    verdict = verdict_of(task, solution_path(TASKS[task].lab).parent, tmp_path)
    assert verdict.points == TASKS[task].points / 2
    assert verdict.state == "inconclusive"
    assert "a person grades this" in verdict.findings[-1].next_step


@pytest.mark.parametrize("task", QUESTIONS)
@pytest.mark.parametrize("answer", ["YOUR ANSWER HERE", "", " \n"])
def test_nothing_written_is_not_started(task: str, answer: str, tmp_path: Path) -> None:
    verdict = verdict_on(task, answer, tmp_path)
    assert (verdict.state, verdict.points) == ("not started", 0)


@pytest.mark.parametrize("number", ["{}.", "{})", "({})", "**{}.**", "  {}:"])
def test_answers_are_numbered_in_several_ways(number: str, tmp_path: Path) -> None:
    lines = [f"{number.format(n)} {PART}" for n in (1, 2, 3)]
    assert verdict_on("2.5", "\n\n".join(lines), tmp_path).points == 1


def test_an_answer_that_is_missing_costs_its_points_and_is_named(tmp_path: Path) -> None:
    verdict = verdict_on("3.6", f"1. {PART}\n2. Because.\n3. {PART}", tmp_path)
    assert points(verdict)["every question has an answer"] == 0
    assert verdict.findings[0].measured == "too short or missing: 2"


def test_answers_without_figures_cost_theirs(tmp_path: Path) -> None:
    words = 15 * "reason "
    verdict = verdict_on("2.5", f"1. {words}\n2. {words}\n3. {words}", tmp_path)
    assert points(verdict) == {
        "every question has an answer": 0.5,
        "figures are quoted": 0,
        "the answers are right": 0,
    }


def test_a_list_within_an_answer_is_part_of_it() -> None:
    assert answers("Hello.\n1. one\n1. a\n3. c\n2. two\n7. x\n", 2) == [
        " one\n1. a\n3. c\n",
        " two\n7. x\n",
    ]
