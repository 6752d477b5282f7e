"""The report on a class: its counts against brute force, and that no student's text acts in it."""

import time
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import date
from pathlib import Path
from statistics import median
from xml.etree import ElementTree as ET

import pytest

from reports import sample_class
from reports.pages import HOSTILE, Page, hash_source, policy_of, read_inert
from reports.test_feedback_page import record_saying
from trtlab.backend import BADGE
from trtlab.checks.misconceptions import MISCONCEPTIONS
from trtlab.checks.tasks import TASKS
from trtlab_grader.records import LabRecord
from trtlab_grader.reports.charts import histogram, spread, stacked_bar
from trtlab_grader.reports.class_report import class_report, write_class_report
from trtlab_grader.reports.grades import StudentGrades, grades_from_records
from trtlab_grader.reports.similarity import Pair, Region
from trtlab_grader.reports.statistics import (
    attention,
    criterion_rates,
    misconceptions,
    task_rates,
    waiting,
)
from trtlab_grader.reports.text import points

TODAY = date(2026, 1, 31)
DOCUMENTATION = {n for n, task in TASKS.items() if task.category == "documentation"}


@pytest.fixture(scope="module")
def records() -> list[LabRecord]:
    return sample_class.records_of_class()


def page_of(records, grades=(), similar=()) -> Page:
    return read_inert(class_report("Course", records, grades, similar, TODAY))


def section(page: Page, start: str, end: str) -> str:
    """Return the text between two headings; both stand in the navigation before."""
    text = page.text[page.text.index("To look at", page.text.index("Machines")) :]
    return text[text.index(start) : text.index(end)] if end else text[text.index(start) :]


class TestCounts:
    def test_rates_are_those_of_a_loop_over_all_submissions(self, records) -> None:
        passing, failing = Counter(), Counter()
        for record in records:
            for number, task in record.tasks.items():
                if number in DOCUMENTATION:
                    continue
                bad = any(f.state in ("fail", "not started") for f in task.verdict.findings)
                (failing if bad else passing)[number] += 1
        rates = task_rates(records)
        assert {rate.task: rate.failing for rate in rates} == {n: failing[n] for n in passing}
        assert {rate.task: rate.passing for rate in rates} == dict(passing)
        order = [rate.failing for rate in rates]
        assert order == sorted(order, reverse=True)
        assert order[0] > order[-1]

    def test_criteria_are_counted_each_by_itself(self, records) -> None:
        wanted: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for record in records:
            for number, task in record.tasks.items():
                for finding in task.verdict.findings if task.verdict else ():
                    wanted[number, finding.criterion][finding.state] += 1
        found = {(rate.task, rate.name): rate.states for rate in criterion_rates(records)}
        assert found == dict(wanted)

    def test_a_pre_check_of_documentation_is_no_check(self) -> None:
        record = record_saying("x")
        task = record.tasks["2.1"]
        moved = task.model_copy(update={"task": "2.5"})
        assert task_rates([record]) != []
        assert task_rates([record.model_copy(update={"tasks": {"2.5": moved}})]) == []

    def test_misconceptions_count_students_and_not_findings(self, records) -> None:
        pairs = {
            (f.misconception, record.student)
            for record in records
            for task in record.tasks.values()
            for f in (task.verdict.findings if task.verdict else ())
            if f.misconception
        }
        found = misconceptions(records)
        assert {(key, student) for key, students in found for student in students} == pairs
        sizes = [len(students) for _, students in found]
        assert sum(sizes) == len(pairs)
        assert sizes == sorted(sizes, reverse=True)

    def test_only_flags_that_ask_for_a_person_do_and_attacks_come_first(self, records) -> None:
        found = [(item.student, item.flags[0].kind) for item in attention(records)]
        assert found == [("edsger", "attack"), ("hedy", "human"), ("tim", "human")]

    def test_what_waits_is_listed_by_task(self) -> None:
        records = sample_class.records_of_class(3, gpu=False)
        everybody = [
            grades_from_records(name, [r for r in records if r.student == name])
            for name in ("ada", "barbara", "claude")
        ]
        numbers = {n for n, t in TASKS.items() if t.category == "performance"}
        found = waiting(everybody, "needs a GPU")
        assert {number for number, _ in found} == numbers
        assert dict(found)["2.3"] == ["ada", "barbara", "claude"]


class TestPage:
    def test_the_head_says_how_many_students_notebooks_and_points(self, records) -> None:
        totals = defaultdict(float)
        for record in records:
            totals[record.student] += record.points
        page = page_of(records)
        head = page.text[: page.text.index("To look at")]
        assert f"24 students, 24 of whom handed something in {len(records)} graded" in head
        assert f"{points(median(totals.values()))} points in the median, of 100" in head
        assert "3 notebooks to look at" in head
        assert "2026-01-31" in head

    def test_students_without_a_submission_count_as_students_only(self, records) -> None:
        grades = [StudentGrades("zoe", {})]
        text = page_of(records, grades).text
        assert "25 students, 24 of whom handed something in" in text
        assert "zoe 0 0 – – – – – –" in text

    def test_the_gradebook_counts_before_the_records(self, records) -> None:
        own = [record for record in records if record.student == "ada"]
        grades = grades_from_records("ada", own)
        task = replace(grades.tasks["1.3"], manual=2.0, status="graded", open_points=0.0)
        graded = replace(grades, tasks={**grades.tasks, "1.3": task})
        text = section(page_of(own, [graded]), "Students", "Machines")
        assert f"ada {points(grades.points + 2)} {points(grades.open_points - 2)} " in text

    def test_misconceptions_come_with_their_text_and_who(self, records) -> None:
        key, students = misconceptions(records)[0]
        text = section(page_of(records), "Misconceptions", "Still open")
        known = MISCONCEPTIONS[key]
        assert f"{len(students)} {known.title} {key} {known.explanation}" in text
        for student in students:
            assert student in text

    def test_names_lead_to_the_students_row(self, records) -> None:
        html = class_report("Course", records, (), (), TODAY)
        for student in sorted({record.student for record in records})[:3]:
            anchor = html.split(f">{student}</a>")[0].rpartition('href="#')[2].removesuffix('"')
            assert f'<tr id="{anchor}"><th scope="row">{student}</th>' in html

    def test_grading_without_isolation_stands_out(self, records) -> None:
        assert "without isolation" not in page_of(records).text
        first = records[0].model_copy(update={"isolation": "none"})
        page = page_of([first, *records[1:]])
        assert f"Graded without isolation: 1 of {len(records)} submissions" in page.text
        assert "alarm" in page.values("class")
        assert "none" in section(page, "Machines", "")

    def test_emulated_grades_carry_the_badge(self, records) -> None:
        assert BADGE not in page_of(records).text
        page = page_of([*records, sample_class.record("zoe", 1, gpu=False)])
        assert f"{BADGE} (1 of {len(records) + 1} submissions)" in page.text

    def test_each_kind_of_machine_is_named_with_its_versions(self, records) -> None:
        page = page_of([*records, sample_class.record("zoe", 1, gpu=False)])
        text = section(page, "Machines", "")
        assert f"{len(records)} NVIDIA H200, Linux x86_64 tensorrt bubblewrap driver 575" in text
        assert "1 AMD EPYC 9554, Linux x86_64 emulated bubblewrap python 3.11.2" in text

    def test_similar_pairs_are_shown_with_their_code_side_by_side(self, records) -> None:
        page = page_of(records, (), sample_class.pairs())
        text = section(page, "Similar code", "Measurements")
        assert "100 % of 05-benchmark: ada and grace" in text
        assert "samples = np.array" in text
        assert "zeiten = np.array" in text

    def test_a_pair_may_name_somebody_without_a_record(self) -> None:
        pair = Pair("01-export", "ghost", "other", 0.9, 30, ())
        assert "ghost and other" in page_of([], (), [pair]).text

    def test_the_report_is_written_in_one_step(self, tmp_path: Path) -> None:
        path = write_class_report(tmp_path / "report.html", "Course", [], [], [])
        assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
        assert list(tmp_path.iterdir()) == [path]


class TestSizes:
    def test_an_empty_class_has_a_report(self) -> None:
        page = page_of([])
        assert "0 students, 0 of whom handed something in" in page.text
        assert "Nothing has been graded yet." in page.text

    def test_a_class_of_one_has_a_report(self) -> None:
        record = sample_class.record("ada", 2)
        page = page_of([record])
        assert f"Mean {points(record.points)}, median {points(record.points)}" in page.text
        assert f"ada {points(record.points)} 2 – {points(record.points)} – – – –" in page.text

    def test_three_hundred_students_take_seconds_and_a_few_megabytes(self) -> None:
        records = sample_class.records_of_class(300, gpu=False)
        region = Region("x = 1\n" * 30, "y = 1\n" * 30)
        pairs = [Pair("01-export", "ada", "grace", 0.9, 30, (region,) * 4)] * 2000
        start = time.monotonic()
        html = class_report("Course", records, (), pairs, TODAY)
        assert time.monotonic() - start < 60  # 1 s on an idle machine
        assert len(html) < 4_000_000
        text = read_inert(html).text
        assert "300 students, 300 of whom" in text
        assert "And 1900 more pairs." in text

    def test_findings_in_their_thousands_are_cut_and_counted(self) -> None:
        records = [sample_class.record(f"s{i}", 5, 1.0) for i in range(800)]
        unsure = sum(
            f.state == "inconclusive"
            for record in records
            for task in record.tasks.values()
            for f in (task.verdict.findings if task.verdict else ())
        )
        assert unsure > 100
        assert f"And {unsure - 100} more." in page_of(records).text


class TestHostileText:
    @pytest.mark.parametrize("payload", HOSTILE)
    def test_markup_in_any_field_is_shown_as_text(self, payload: str) -> None:
        region = Region(payload, payload)
        pair = Pair(payload, payload, payload, 1.0, 20, (region,))
        attack = record_saying(payload, student=payload)
        unsure = (
            attack.tasks["2.1"].verdict.findings[0].model_copy(update={"state": "inconclusive"})
        )
        verdict = attack.tasks["2.1"].verdict.model_copy(update={"findings": (unsure,)})
        task = attack.tasks["2.1"].model_copy(update={"verdict": verdict})
        second = attack.model_copy(update={"assignment": payload, "tasks": {"2.2": task}})
        page = read_inert(class_report(payload, [attack, second], (), [pair], TODAY))
        assert "alert(1)" in page.text or "alert" not in payload
        assert page.tags.count("pre") == 2

    def test_the_policy_allows_the_pages_own_style_and_nothing_else(self, records) -> None:
        page = page_of(records)
        assert policy_of(page)["default-src"] == ["'none'"]
        assert policy_of(page)["style-src"] == [hash_source(page.style)]
        assert not {"script-src", "connect-src", "font-src", "frame-src"} & policy_of(page).keys()


class TestCharts:
    def test_the_bins_of_the_histogram_are_those_of_a_loop(self) -> None:
        values = [0, 9.99, 10, 55, 59, 99.5, 100, 103]
        svg = ET.fromstring(histogram(values, 100))
        assert svg.get("aria-label") == (
            "Students by total points: 0 to 10: 2, 10 to 20: 1, 50 to 60: 2, 90 to 100: 3"
        )
        bars = [float(bar.get("height")) for bar in svg.iter("rect")]
        assert bars == pytest.approx([max(bars) * count / 3 for count in (2, 1, 2, 3)], rel=1e-3)
        assert "median 57" in "".join(svg.itertext())

    def test_quartiles_stand_where_they_belong(self) -> None:
        svg = ET.fromstring(spread([0, 10, 20, 30, 40], 40, "label"))
        where = {r.get("class"): (float(r.get("x")), float(r.get("width"))) for r in svg}
        assert where["whisker"] == (0, 100)
        assert where["box"] == (25, 50)
        assert where["median"][0] == 50

    def test_a_bar_of_nothing_is_empty(self) -> None:
        svg = ET.fromstring(stacked_bar([("earned", 0)], 0, "label"))
        assert [rect.get("class") for rect in svg] == ["rest"]

    def test_a_label_cannot_leave_its_attribute(self) -> None:
        svg = ET.fromstring(stacked_bar([], 1, '"><script>alert(1)</script>'))
        assert svg.get("aria-label") == '"><script>alert(1)</script>'
