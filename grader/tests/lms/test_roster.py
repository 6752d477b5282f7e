"""A roster says who the names and numbers of an LMS are."""

import re
from pathlib import Path

import pytest
from nbgrader.api import Gradebook

from made_up_downloads import LAB, NOTEBOOK, in_zip, reasons, submitted
from trtlab.errors import DataError
from trtlab_grader.course import Course
from trtlab_grader.lms.collect import collect


def write_roster(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "roster.csv"
    path.write_text(text, encoding="utf-8-sig")
    return path


def test_a_roster_maps_names_and_numbers_to_ids_and_fills_the_gradebook(
    course: Course, tmp_path: Path
) -> None:
    roster = write_roster(
        tmp_path,
        "id,name,lms_id,first_name,last_name,email\n"
        "al1,Ada Lovelace,101,Ada,Lovelace,ada@example.org\n"
        'gh2,"Hopper, Grace",,,,\n'
        "zm3,Zoë Müller,,,,\n",
    )
    files = {
        f"renamed_101_1_{NOTEBOOK}": "by number",
        f"hoppergrace_102_2_{NOTEBOOK}": "by name",
        f"Zoe Muller/{NOTEBOOK}": "by folder",
        f"Nobody/{NOTEBOOK}": "x",
    }
    collected = collect(course, in_zip(tmp_path, files), roster)
    assert submitted(course) == {
        f"al1/{LAB}/{NOTEBOOK}": "by number",
        f"gh2/{LAB}/{NOTEBOOK}": "by name",
        f"zm3/{LAB}/{NOTEBOOK}": "by folder",
    }
    assert reasons(collected) == {f"Nobody/{NOTEBOOK}": "none in the roster called 'Nobody'"}
    with Gradebook(course.gradebook_url) as gradebook:
        ada = gradebook.find_student("al1")
        assert (ada.first_name, ada.last_name, ada.lms_user_id) == ("Ada", "Lovelace", "101")


def test_two_students_of_one_name_are_told_apart_by_number_only(
    course: Course, tmp_path: Path
) -> None:
    roster = write_roster(tmp_path, "name,id,lms_id\nAda B,a1,7\nAda B,a2,8\n")
    files = {f"Ada B_7_assignsubmission_file_/{NOTEBOOK}": "a1's", f"ada b/{NOTEBOOK}": "whose?"}
    collected = collect(course, in_zip(tmp_path, files), roster)
    assert submitted(course) == {f"a1/{LAB}/{NOTEBOOK}": "a1's"}
    assert reasons(collected) == {f"ada b/{NOTEBOOK}": "2 in the roster called 'ada b'"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("student;id\nAda;a1\n", "needs the columns name and id; it has student;id"),
        ("name,id\nAda,../a1\n", "line 2: '../a1' is no id"),
        ("name,id\nAda,a1\nBob,A1\n", "the id a1 is there more than once"),
    ],
)
def test_a_roster_that_is_wrong_is_refused_with_the_reason(
    course: Course, tmp_path: Path, text: str, why: str
) -> None:
    roster = write_roster(tmp_path, text)
    with pytest.raises(DataError, match=re.escape(why)):
        collect(course, in_zip(tmp_path, {f"ada/{NOTEBOOK}": "x"}), roster)
