"""docs/course.md says what the code says."""

import re
from pathlib import Path

import pytest

from trtlab.checks.misconceptions import MISCONCEPTIONS
from trtlab.checks.tasks import TASKS
from trtlab.lab.course_tables import (
    CATEGORIES,
    DOCUMENT,
    filled_in,
    misconceptions_by_lab,
    points_of,
    points_table,
)

ROOT = Path(__file__).parents[2]


def document() -> str:
    return (ROOT / DOCUMENT).read_text(encoding="utf-8")


def test_the_document_is_current() -> None:
    assert document() == filled_in(document()), "run python -m trtlab.lab.course_tables"


def test_every_task_stands_in_the_table_under_its_criterion_with_its_points() -> None:
    rows = {}
    for line in points_table().splitlines()[2:-1]:
        name, *cells, _by = (cell.strip() for cell in line.strip("|").split("|"))
        rows[name.split()[0]] = dict(zip(CATEGORIES, cells, strict=True))
    assert rows == {
        number: {c: str(task.points) if c == task.category else "" for c in CATEGORIES}
        for number, task in TASKS.items()
    }


def test_the_criteria_weigh_what_the_course_says() -> None:
    assert [points_of(category) for category in CATEGORIES] == [40, 30, 15, 15]
    assert "| **Total** | **40** | **30** | **15** | **15** |" in document()


def test_every_misconception_belongs_to_exactly_one_lab() -> None:
    by_lab = misconceptions_by_lab()
    listed = [key for keys in by_lab.values() for key in keys]
    assert sorted(listed) == sorted(MISCONCEPTIONS)


def test_a_change_in_the_code_shows() -> None:
    old = document().replace("(`badge-dropped`)", "(`badge-lost`)")
    assert old != document()
    assert filled_in(old) == document()


def test_a_missing_marker_is_named() -> None:
    with pytest.raises(ValueError, match="points"):
        filled_in(document().replace("<!-- points -->", ""))


def test_files_that_the_document_names_exist() -> None:
    named = re.findall(r"`((?:lib|solutions|labs)/[\w/.-]*)`", document())
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
