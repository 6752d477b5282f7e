"""What a student wrote cannot run in the browser of whoever grades, or of another student."""

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from nbconvert.exporters import HTMLExporter
from nbgrader.converters import GenerateFeedback
from nbgrader.coursedir import CourseDirectory
from nbgrader.server_extensions.formgrader import handlers
from traitlets.config import Config

from gradebook.conftest import LAB
from gradebook.made_up import record, verdict
from trtlab_grader.course import Course
from trtlab_grader.nbgrader_glue.config import configure
from trtlab_grader.nbgrader_glue.rendering import safe_markdown
from trtlab_grader.nbgrader_glue.writer import write_grades
from trtlab_grader.records import Flag, TaskRecord

MARKER = "attackmarker"
ATTACKS = (
    f"<script>{MARKER}</script>",
    f'<img src=x onerror="{MARKER}">',
    f"<svg onload={MARKER}></svg>",
    f'<iframe src="javascript:{MARKER}"></iframe>',
    f"[x](javascript:{MARKER})",
    f'<a href="java&#115;cript:{MARKER}">x</a>',
    f'<form action="/{MARKER}"><input name="{MARKER}"></form>',
    f'<div style="background:url(javascript:{MARKER})">x</div>',
    f"</textarea></code></pre><script>{MARKER}</script>",
    f"```\n</pre><script>{MARKER}</script>\n```",
    f"<details open ontoggle={MARKER}>x</details>",
    f"<math><mtext></mtext><script>{MARKER}</script></math>",
)


class Live(HTMLParser):
    """Collects where the marker is part of markup, or is in a script: anywhere but in text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.live: list[str] = []
        self._script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._script = tag in ("script", "style")
        if any(MARKER in f"{name} {value}" for name, value in attrs):
            self.live.append(f"{tag} {attrs}")

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        if self._script and MARKER in data:
            self.live.append(data)


def live_in(page: str) -> list[str]:
    parser = Live()
    parser.feed(page)
    return parser.live


def test_the_attacks_are_attacks_where_nothing_is_done_about_them() -> None:
    for attack in ATTACKS:
        page = f'<a href="javascript:{MARKER}">' if attack.startswith("[x]") else attack
        assert live_in(page), attack


@pytest.mark.parametrize("attack", ATTACKS)
def test_markdown_is_rendered_without_what_could_run(attack: str) -> None:
    assert live_in(safe_markdown(attack)) == []


def test_honest_markdown_is_rendered_as_ever() -> None:
    source = "# Title\n\n| a | b |\n| --- | --: |\n| 1 | **2** |\n\n![p](pipeline.svg)\n\n`x < 1`"
    page = safe_markdown(source)
    for part in ("<h1", "<td>1</td>", "<strong>2</strong>", 'src="pipeline.svg"', "x &lt; 1"):
        assert part in page


@pytest.fixture
def hostile(course: Course, submit: Callable[..., Path]) -> Course:
    """A submission that tries every attack in every place, graded."""
    text = "\n\n".join(ATTACKS)

    def attack(data: Any) -> None:
        for kind in ("markdown", "raw", "code"):
            html = {"raw_mimetype": "text/html", "tags": [text], "nbgrader": {"comment": text}}
            data["cells"].append({"cell_type": kind, "source": text, "metadata": html})
        for cell in data["cells"]:
            if cell["metadata"].get("nbgrader", {}).get("solution"):
                cell["source"] = text
        data["metadata"]["kernelspec"] = {"name": text, "display_name": text, "language": text}
        data["metadata"]["title"] = text

    submit("ada", change=attack)
    made = record("ada", LAB, flags=[Flag(kind="attack", code=text, text=text)])
    made.cell_errors["task-2-1"] = f"{text}: {text}"
    for task in ("2.1", "2.5"):
        status = made.tasks[task].status
        judged = verdict(task, 1, 5 if task == "2.1" else 2, measured=text, next_step=text)
        made.tasks[task] = TaskRecord(task=task, status=status, verdict=judged)
    result = write_grades(course, [made])
    assert result.failed == {}
    return course


def test_formgrader_shows_a_hostile_submission_and_nothing_of_it_runs(hostile: Course) -> None:
    config = configure(hostile)
    config.HTMLExporter.template_name = "formgrade"
    config.HTMLExporter.extra_template_basedirs = [handlers.template_path]
    path = hostile.autograded / "ada" / LAB / f"{LAB}.ipynb"
    resources = {"base_url": "", "index": 0, "total": 1, "notebook_id": LAB, "student": "ada"}
    page, _ = HTMLExporter(config=config).from_filename(str(path), resources=resources)
    assert page.count(MARKER) > len(ATTACKS)
    assert "Notes of the grader" in page
    assert live_in(page) == []


def test_feedback_shows_a_hostile_submission_and_nothing_of_it_runs(hostile: Course) -> None:
    config: Config = configure(hostile)
    directory = CourseDirectory(config=config, assignment_id=LAB)
    GenerateFeedback(coursedir=directory, config=config).start()
    page = (hostile.feedback / "ada" / LAB / f"{LAB}.html").read_text()
    assert page.count(MARKER) > len(ATTACKS)
    assert "Notes of the grader" not in page
    assert live_in(page) == []
