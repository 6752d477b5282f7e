"""What the records of a class add up to: pass rates, misconceptions, what needs somebody.

Counting only; the class report shows it, and nothing here is HTML.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from trtlab.checks.tasks import TASKS
from trtlab.checks.verdict import Finding, State
from trtlab_grader.records import Flag, LabRecord
from trtlab_grader.reports.grades import StudentGrades
from trtlab_grader.reports.words import processor

_BAD: tuple[State, ...] = ("fail", "not started")
_FLAG_ORDER = {"attack": 0, "human": 1}


@dataclass(frozen=True)
class Rate:
    """How a check, or one thing that it looks at, went in the class.

    Attributes:
        task: its number.
        name: the task's title, or the finding's criterion.
        states: how many submissions are in which state.
    """

    task: str
    name: str
    states: Counter[State]

    @property
    def submissions(self) -> int:
        """How many it was looked at for."""
        return self.states.total()

    @property
    def failing(self) -> int:
        """How many do not meet it."""
        return sum(self.states[state] for state in _BAD)

    @property
    def passing(self) -> int:
        """How many meet it."""
        return self.states["pass"] + self.states["inconclusive"]


@dataclass(frozen=True)
class Attention:
    """A submission that somebody must look at, and why."""

    student: str
    assignment: str
    flags: tuple[Flag, ...]

    @property
    def attacked(self) -> bool:
        """Whether one of the reasons is plainly an attempt on the grade."""
        return any(flag.kind == "attack" for flag in self.flags)


@dataclass(frozen=True)
class Measurement:
    """A finding of one student."""

    student: str
    task: str
    finding: Finding


@dataclass(frozen=True)
class Machine:
    """A kind of machine that graded, and how many records come from it."""

    processor: str
    backend: str
    isolation: str
    versions: tuple[tuple[str, str], ...]
    driver: str
    records: int


def findings(records: Iterable[LabRecord]) -> Iterator[Measurement]:
    """Yield every finding of every student, those on documentation as well."""
    for record in records:
        for number, task in record.tasks.items():
            for finding in task.verdict.findings if task.verdict else ():
                yield Measurement(record.student, number, finding)


def task_rates(records: Iterable[LabRecord]) -> list[Rate]:
    """Return how each checked task went, the one that most fail first.

    Documentation is left out: what its pre-check says is no grade.
    """
    counts: dict[str, Counter[State]] = defaultdict(Counter)
    for record in records:
        for number, task in record.tasks.items():
            if task.verdict and TASKS[number].category != "documentation":
                counts[number][task.verdict.state] += 1
    return _worst_first(Rate(n, TASKS[n].title, states) for n, states in counts.items())


def criterion_rates(records: Iterable[LabRecord]) -> list[Rate]:
    """Return how everything that the checks look at went, what most fail first."""
    counts: dict[tuple[str, str], Counter[State]] = defaultdict(Counter)
    for found in findings(records):
        if TASKS[found.task].category != "documentation":
            counts[found.task, found.finding.criterion][found.finding.state] += 1
    return _worst_first(Rate(task, name, states) for (task, name), states in counts.items())


def _worst_first(rates: Iterable[Rate]) -> list[Rate]:
    return sorted(rates, key=lambda rate: (-rate.failing, rate.task, rate.name))


def misconceptions(records: Iterable[LabRecord]) -> list[tuple[str, list[str]]]:
    """Return (key, students) of every misconception that was seen, the most frequent first."""
    who: dict[str, set[str]] = defaultdict(set)
    for found in findings(records):
        if found.finding.misconception:
            who[found.finding.misconception].add(found.student)
    ordered = sorted(who.items(), key=lambda item: (-len(item[1]), item[0]))
    return [(key, sorted(students)) for key, students in ordered]


def attention(records: Iterable[LabRecord]) -> list[Attention]:
    """Return the submissions with flags that ask for a person, attacks first."""
    needed = []
    for record in records:
        flags = [flag for flag in record.flags if flag.kind in _FLAG_ORDER]
        flags.sort(key=lambda flag: _FLAG_ORDER[flag.kind])
        if flags:
            needed.append(Attention(record.student, record.assignment, tuple(flags)))
    return sorted(needed, key=lambda item: (not item.attacked, item.student, item.assignment))


def waiting(grades: Iterable[StudentGrades], status: str) -> list[tuple[str, list[str]]]:
    """Return (task, students) of what is not graded yet and has this status, by task."""
    who: dict[str, list[str]] = defaultdict(list)
    for student in grades:
        for number, grade in student.tasks.items():
            if grade.status == status:
                who[number].append(student.student)
    return sorted((number, sorted(students)) for number, students in who.items())


def slowest(records: Iterable[LabRecord], most: int) -> list[tuple[str, str, float]]:
    """Return (student, task, seconds) of the tasks that took longest to grade."""
    taken = [(r.student, t.task, t.seconds) for r in records for t in r.tasks.values()]
    return sorted(taken, key=lambda item: (-item[2], item[0], item[1]))[:most]


def inconclusive(records: Iterable[LabRecord]) -> list[Measurement]:
    """Return the findings whose interval straddles what is required.

    A pre-check of documentation calls inconclusive what a person has to judge: nothing measured.
    """
    return [
        found
        for found in findings(records)
        if found.finding.state == "inconclusive" and TASKS[found.task].category != "documentation"
    ]


def machines(records: Sequence[LabRecord]) -> list[Machine]:
    """Return what graded, the most used first. Machines that differ in nothing are one."""
    counts: Counter[Machine] = Counter()
    for record in records:
        facts = record.machine
        known = {name: version for name, version in facts.versions.items() if version}
        machine = Machine(
            processor=f"{processor(record)}, {facts.system}",
            backend=facts.backend,
            isolation=record.isolation,
            versions=tuple(sorted(known.items())),
            driver=(facts.gpu.driver or "") if facts.gpu else "",
            records=0,
        )
        counts[machine] += 1
    return [
        Machine(m.processor, m.backend, m.isolation, m.versions, m.driver, count)
        for m, count in counts.most_common()
    ]
