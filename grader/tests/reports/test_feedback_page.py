"""The page of a student: what it adds up to, what it tells, and what it must not."""

import io
import re
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from reports import sample_class
from reports.pages import HOSTILE, hash_source, policy_of, read_inert
from trtlab.backend import BADGE
from trtlab.checks.misconceptions import MISCONCEPTIONS
from trtlab.checks.tasks import TASKS
from trtlab.checks.verdict import Finding, Verdict
from trtlab_grader.records import Flag, LabRecord, TaskRecord
from trtlab_grader.reports.feedback import feedback_page, write_feedback
from trtlab_grader.reports.grades import StudentGrades, grades_from_records
from trtlab_grader.reports.text import points


def course_of(student: str = "ada", skill: float = 0.6, gpu: bool = True) -> list[LabRecord]:
    return [sample_class.record(student, lab, skill, gpu) for lab in range(1, 7)]


def page_of(records: list[LabRecord], grades: StudentGrades | None = None, charts=()):
    student = records[0].student if records else "ada"
    given = grades or grades_from_records(student, records)
    return read_inert(feedback_page("Course", records, given, charts))


def record_saying(text: str, student: str = "ada") -> LabRecord:
    """Return a record with a text wherever one can come from a student."""
    finding = Finding(
        criterion=text,
        state="fail",
        points=0,
        max_points=5,
        measured=text,
        required=text,
        margin=text,
        misconception=text,
        next_step=text,
    )
    verdict = Verdict(task="2.1", title=text, findings=(finding,))
    return sample_class.record(
        student,
        2,
        tasks={"2.1": TaskRecord(task="2.1", status="graded", verdict=verdict)},
        cell_errors={text: text},
        flags=[Flag(kind="human", code=text, text=text, task=text)],
    )


def png(text: str = "", size: tuple[int, int] = (40, 30)) -> bytes:
    info = PngInfo()
    info.add_text("Comment", text or "-")
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


class TestPoints:
    def test_criteria_labs_and_total_are_the_sums_over_all_findings(self) -> None:
        records = course_of()
        sums: dict[str, float] = defaultdict(float)
        for record in records:
            for number, task in record.tasks.items():
                for finding in task.verdict.findings if task.verdict else ():
                    sums[TASKS[number].category.capitalize()] += finding.points
                    sums[f"Lab {record.lab}"] += finding.points
                    sums["total"] += finding.points
        text = page_of(records).text
        most = {"Correctness": 40, "Performance": 30, "Accuracy": 15, "Documentation": 15}
        for criterion, of in most.items():
            assert f"{criterion} {points(sums[criterion])} of {of} " in text
        for lab, of in {1: 9, 2: 27, 3: 29, 4: 7, 5: 19, 6: 9}.items():
            assert re.search(rf"Lab {lab}: \w+ {points(sums[f'Lab {lab}'])} of {of} ", text)
        assert f"Points {points(sums['total'])} of 100 " in text
        assert 0 < sums["total"] < 85

    def test_the_bars_are_as_long_as_the_points(self) -> None:
        grades = grades_from_records("ada", course_of())
        html = feedback_page("Course", course_of(), grades)
        (label, bar) = re.search(r'aria-label="(Total:[^"]*)"[^>]*>(.*?)</svg>', html).groups()
        widths = dict(re.findall(r'class="(\w+)" x="[\d.]+" y="0" width="([\d.]+)"', bar))
        assert float(widths["earned"]) == pytest.approx(grades.points, rel=1e-3)
        assert float(widths["open"]) == pytest.approx(15)  # documentation
        assert label == f"Total: {points(grades.points)} of 100 points, 15 still open"

    def test_a_persons_points_count_in_place_of_the_check_and_comments_are_shown(self) -> None:
        records = course_of(skill=0)
        grades = grades_from_records("ada", records)
        by_hand = replace(grades.tasks["2.1"], manual=3.5, comments=("Nearly.",))
        given = replace(grades, tasks={**grades.tasks, "2.1": by_hand})
        text = page_of(records, given).text
        assert given.points == grades.points + 3.5
        assert "graded by a person , 3.5 of 5 points" in text
        assert "The check gave 0; the points of the person who graded it count" in text
        assert "Comment: Nearly." in text

    def test_a_late_penalty_is_said_and_taken_off(self) -> None:
        records = course_of(skill=1)
        full = grades_from_records("ada", records)
        late = replace(full, late_penalties={"01-export": 2.0, "06-report": 5.0})
        assert late.points == full.points - 2  # lab 6 has nothing yet that could be taken off
        text = page_of(records, late).text
        assert "Late penalty: 2 points are taken off" in text
        assert "5 of 9 points , 2 taken off because it came late" in text

    def test_points_above_the_maximum_stay_within_the_bar(self) -> None:
        records = course_of(skill=1)
        grades = grades_from_records("ada", records)
        tasks = {n: replace(grade, extra=5.0) for n, grade in grades.tasks.items()}
        html = feedback_page("Course", records, replace(grades, tasks=tasks))
        for bar in re.findall(r"<svg[^>]*preserveAspectRatio.*?</svg>", html):
            ends = re.findall(r' x="([\d.]+)" y="0" width="([\d.]+)"', bar)
            assert max(float(x) + float(width) for x, width in ends) <= 100.01


class TestContent:
    def test_a_card_shows_measured_required_margin_misconception_and_next_step(self) -> None:
        finding = Finding(
            criterion="the workspace", state="fail", points=1, max_points=5, measured="2 KiB",
            required="2 GiB", margin="a lot short", misconception="workspace-unit",
            next_step="Shift further.",
        )  # fmt: skip
        verdict = Verdict(task="2.1", title="t", findings=(finding,))
        task = TaskRecord(task="2.1", status="graded", verdict=verdict)
        text = page_of([sample_class.record("ada", 2, tasks={"2.1": task})]).text
        known = MISCONCEPTIONS["workspace-unit"]
        for piece in (
            "the workspace: not met 1 of 5 Measured 2 KiB Required 2 GiB Margin a lot short",
            f"{known.title}. {known.explanation}",
            "Next: Shift further.",
            "partly met , 1 of 5 points",
        ):
            assert piece in text

    def test_what_waits_for_a_gpu_or_a_person_is_listed_with_its_points(self) -> None:
        text = page_of(course_of(gpu=False)).text
        assert "Up to 45 more points are still open" in text
        waiting = text[
            text.index("Still open") : text.index("Lab 1: Export", text.index("Still open"))
        ]
        for number in ("2.3", "2.4", "3.4", "3.5", "1.3", "2.5", "3.6", "6.1", "6.2"):
            about = TASKS[number]
            assert f"{number} {about.title}: up to {about.points} points" in waiting

    @pytest.mark.parametrize("gpu", [True, False])
    def test_the_badge_follows_the_machine_that_graded_and_not_this_one(self, gpu: bool) -> None:
        assert page_of(course_of(gpu=gpu)).words.count(BADGE) == (0 if gpu else 1 + 6)

    def test_labs_that_were_not_handed_in_are_said_to_be_missing(self) -> None:
        text = page_of([sample_class.record("ada", 2)]).text
        assert text.count("Nothing was handed in") == 5
        assert "Lab 3: Calibrate Nothing was handed in: 0 of 29 points." in text

    def test_a_student_without_anything_gets_a_page_too(self) -> None:
        text = page_of([], StudentGrades("ada", {})).text
        assert text.count("Nothing was handed in") == 6
        assert "Points 0 of 100" in text

    def test_of_many_cell_errors_the_first_are_shown_and_the_rest_counted(self) -> None:
        errors = {f"cell{i}": f"NameError: name{i}" for i in range(500)}
        text = page_of([sample_class.record("ada", 2, cell_errors=errors)]).text
        assert "cell19 : NameError: name19 and 480 more" in text
        assert "name20" not in text

    def test_headings_go_down_one_level_at_a_time_and_pictures_have_a_text(self) -> None:
        page = page_of(course_of(), charts=[("speed", png())])
        levels = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
        assert levels[0] == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        assert page.values("alt") == ["Your chart speed"]
        assert page.values("role").count("img") == len(
            [label for tag, name, label in page.attributes if (tag, name) == ("svg", "aria-label")]
        )

    def test_the_page_is_written_in_one_step(self, tmp_path: Path) -> None:
        path = write_feedback(tmp_path / "ada", "Course", [], StudentGrades("ada", {}))
        assert path == tmp_path / "ada" / "feedback.html"
        assert list(path.parent.iterdir()) == [path]


class TestSecrets:
    def test_nothing_is_told_of_flags_other_students_hashes_or_seeds(self) -> None:
        flags = [
            Flag(kind="attack", code="symlink-deliverable", text="a link to the gradebook"),
            Flag(kind="note", code="restored", text="a locked cell was restored"),
        ]
        records = course_of()
        records[1] = sample_class.record(
            "ada", 2, flags=flags, deliverables={"resnet50_fp16.engine": "ab" * 32}
        )
        html = feedback_page("Course", records, grades_from_records("ada", records))
        text = html[html.index("<body") :]
        for word in ("symlink", "gradebook", "restored", "attack", "abab", "0000", "seed"):
            assert word not in text
        assert set(sample_class.NAMES) & set(re.findall(r"\w+", text)) == {"ada"}
        assert html.count("A person will look at this lab before its points are final.") == 1

    def test_a_record_of_another_student_is_refused(self) -> None:
        with pytest.raises(ValueError, match="a record of 'bob' on the page of 'ada'"):
            feedback_page("Course", course_of("bob"), StudentGrades("ada", {}))

    @pytest.mark.parametrize(
        "path",
        [
            "/srv/courses/trt/box-8a1/work/resnet50.engine",
            "file:///srv/courses/trt/box-8a1/work/resnet50.engine",
            "'/srv/courses/trt/box-8a1/work/resnet50.engine'",
            "path:/srv/courses/trt/box-8a1/work/resnet50.engine",
        ],
    )
    def test_paths_of_the_graders_machine_are_cut_to_the_files_name(self, path: str) -> None:
        text = page_of([record_saying(f"OSError: {path} is missing")]).text
        assert "…/resnet50.engine" in text
        for part in ("srv", "courses", "box-8a1"):
            assert part not in text

    def test_what_only_looks_like_a_path_is_left_alone(self) -> None:
        said = "1/8/32, images/s, ../labs/02-build, https://docs.nvidia.com/a/b, min 1 / opt 8"
        assert said in page_of([record_saying(said)]).text


class TestHostileText:
    @pytest.mark.parametrize("payload", HOSTILE)
    def test_markup_in_any_field_is_shown_as_text(self, payload: str) -> None:
        record = record_saying(payload, student=payload)
        grades = grades_from_records(payload, [record])
        task = replace(grades.tasks["2.1"], comments=(payload,))
        grades = replace(grades, tasks={"2.1": task}, comments=(("02-build", payload),))
        charts = [(payload, png(payload)), (payload, payload.encode())]
        page = read_inert(feedback_page(payload, [record], grades, charts))
        visible = re.sub(r"[\u202e\u2066\x00]", lambda m: f"\\u{ord(m[0]):04x}", payload)
        # Course, student, criterion, measured, required, margin, misconception, next step, cell,
        # error, two comments, two charts; once more in the title.
        assert page.text.count(" ".join(visible.split())) >= 15

    def test_the_policy_allows_the_pages_own_style_and_pictures_in_it_and_nothing_else(
        self,
    ) -> None:
        page = page_of(course_of())
        assert policy_of(page) == {
            "default-src": ["'none'"],
            "style-src": [hash_source(page.style)],
            "img-src": ["data:"],
            "base-uri": ["'none'"],
            "form-action": ["'none'"],
        }
        assert "@import" not in page.style
        assert "url(" not in page.style

    def test_a_megabyte_of_text_is_cut_and_says_so(self) -> None:
        html = feedback_page(
            "Course",
            [record := record_saying("x" * 1_000_000)],
            grades_from_records("ada", [record]),
        )
        assert len(html) < 100_000
        assert "(1,000,000 characters)" in html
