"""Markdown as formgrader shows it: boxes, tables and pictures look as they do in the notebook."""

import pytest

from trtlab_grader.nbgrader_glue.rendering import safe_markdown


def test_the_boxes_of_a_list_of_tasks_are_signs_and_no_form() -> None:
    html = safe_markdown("- [ ] to do\n- [x] done")
    assert "\u2610 to do" in html
    assert "\u2611 done" in html
    assert "input" not in html


def test_tables_have_a_style_that_keeps_columns_apart() -> None:
    html = safe_markdown("| a | b |\n| - | - |\n| 1 | 2 |")
    assert '<table class="table table-condensed" style="width: auto">' in html


@pytest.mark.parametrize("source", ["![p](x.svg)", '<img src="x.svg" style="border: 9px">'])
def test_pictures_have_no_frame_whatever_the_student_wants(source: str) -> None:
    html = safe_markdown(source)
    assert html.index("border: 0") < html.find("border: 9px") or "9px" not in html
    assert 'src="x.svg"' in html


def test_headings_carry_no_sign_of_an_anchor() -> None:
    assert safe_markdown("# Title").strip() == "<h1>Title</h1>"
