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
    roster = write_roster(tmp_path, "name,id,lms_id\nAda B,a1,7\nAda B,a2,\nAda B,a3,9\n")
    files = {
        f"bada_7_9001_{NOTEBOOK}": "a1's",
        f"a2/{NOTEBOOK}": "a2's, by id",
        f"ada b/{NOTEBOOK}": "whose?",
    }
    collected = collect(course, in_zip(tmp_path, files), roster)
    assert submitted(course) == {
        f"a1/{LAB}/{NOTEBOOK}": "a1's",
        f"a2/{LAB}/{NOTEBOOK}": "a2's, by id",
    }
    assert reasons(collected) == {f"ada b/{NOTEBOOK}": "3 in the roster called 'ada b'"}


CLASS = "name,id,lms_id\nAda Lovelace,ada,11\nGrace Hopper,grace,13\nZoe,zoe,\n"


def moodle(name: str, number: int, file: str = NOTEBOOK) -> str:
    return f"{name}_{number}_assignsubmission_file_/{file}"


def test_moodle_s_numbers_are_nobody_s(course: Course, tmp_path: Path) -> None:
    """They are drawn for each assignment; here they are those of Canvas the other way round."""
    roster = write_roster(tmp_path, CLASS)
    files = {
        moodle("Ada Lovelace", 13): "ada's",
        moodle("Ada Lovelace", 17, "01-export.ipynb"): "ada's first",
        f"Grace Hopper_11_assignsubmission_file/{NOTEBOOK}": "grace's",
        "Grace Hopper_11_assignsubmission_onlinetext_/onlinetext.html": "text",
    }
    collect(course, in_zip(tmp_path, files), roster)
    assert submitted(course) == {
        "ada/01-export/01-export.ipynb": "ada's first",
        f"ada/{LAB}/{NOTEBOOK}": "ada's",
        f"grace/{LAB}/{NOTEBOOK}": "grace's",
    }


def test_moodle_without_a_roster_is_refused_with_what_to_do(course: Course, tmp_path: Path) -> None:
    files = {moodle("Ada", 11): "x", moodle("Participant", 12): "x", moodle("Participant", 13): "y"}
    collected = collect(course, in_zip(tmp_path, files))
    assert submitted(course) == {}
    assert len(collected.refused) == 3
    assert all("--roster" in refused.why for refused in collected.refused)


@pytest.mark.parametrize(
    "names",
    [
        [moodle("Ada Lovelace", 1), moodle("Ada Lovelace", 2)],
        [f"lovelaceada_1_9001_{NOTEBOOK}", f"lovelaceada_2_9002_{NOTEBOOK}"],
        [f"lovelaceada_1_9001_{NOTEBOOK}", "lovelaceada_2_9002_01-export.ipynb"],
    ],
)
def test_two_accounts_of_one_name_are_not_one_student(
    course: Course, tmp_path: Path, names: list[str]
) -> None:
    roster = write_roster(tmp_path, "name,id\nAda Lovelace,ada\n")
    collected = collect(course, in_zip(tmp_path, dict.fromkeys(names, "x")), roster)
    assert submitted(course) == {}
    assert [refused.why for refused in collected.refused] == [collected.refused[0].why] * 2
    assert "not clear whose" in collected.refused[0].why


@pytest.mark.parametrize(
    ("name", "number", "why"),
    [
        ("hoppergrace", "11", "grace (lms_id 13), and the number 11 ada's"),
        ("hoppergrace", "99", "grace (lms_id 13), and the number 99 nobody's"),
        ("zoe", "11", "zoe (lms_id empty), and the number 11 ada's"),
    ],
)
def test_canvas_s_name_and_number_have_to_agree(
    course: Course, tmp_path: Path, name: str, number: str, why: str
) -> None:
    file = f"{name}_{number}_9001_{NOTEBOOK}"
    collected = collect(course, in_zip(tmp_path, {file: "x"}), write_roster(tmp_path, CLASS))
    assert submitted(course) == {}
    assert reasons(collected)[file] == (
        f"the name {name!r} is in the roster that of {why}: correct the roster's lms_id"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("student;id\nAda;a1\n", "needs the columns name and id; it has student;id"),
        ("name,id\nAda,../a1\n", "line 2: '../a1' is no id"),
        ("name,id\nAda,a1\nBob,A1\n", "the id a1 is there more than once"),
        ("name,id,lms_id\nAda,a1,7\nBob,b1,7\n", "the lms_id 7 is there more than once"),
    ],
)
def test_a_roster_that_is_wrong_is_refused_with_the_reason(
    course: Course, tmp_path: Path, text: str, why: str
) -> None:
    roster = write_roster(tmp_path, text)
    with pytest.raises(DataError, match=re.escape(why)):
        collect(course, in_zip(tmp_path, {f"ada/{NOTEBOOK}": "x"}), roster)
