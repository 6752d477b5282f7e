"""`trtlab-grade init`, `release`, `collect` and `doctor`: before anything is graded."""

from pathlib import Path
from typing import Annotated

import typer

from trtlab.cli.console import JsonFlag, out, print_findings, print_json, say
from trtlab_grader.cli.common import HERE, CourseOption


def init(
    directory: Annotated[Path, typer.Argument(help="The course directory to make.")],
    name: Annotated[
        str | None,
        typer.Option(help="What feedback and reports call the course; default: TensorRT lab."),
    ] = None,
    gradebook: Annotated[
        str | None,
        typer.Option(help="URL of a PostgreSQL database; default: SQLite in the directory."),
    ] = None,
) -> None:
    """Make a course directory: the notebooks, their release, nbgrader's settings, a gradebook.

    Run again, it adds what is missing and overwrites nothing; settings are then course.toml's to
    change. Keep .secret to yourself: images and inputs that work is graded on are drawn from it.
    """
    from trtlab_grader.course import Settings
    from trtlab_grader.nbgrader_glue.setup import init_course

    asked = {"name": name, "gradebook": gradebook}
    given = {key: value for key, value in asked.items() if value is not None}
    course = init_course(directory, Settings.model_validate(given))
    say(f"Course directory: {course.root}")
    say(f"Edit the labs in:  {course.source}, then run `trtlab-grade release`")
    say(f"Give to students:  {course.release}")
    say("Next: cd there, and `trtlab-grade doctor` says what grading needs on this machine.")


def release(course: CourseOption = HERE) -> None:
    """Make what students get, release/, from the instructor's notebooks in source/."""
    from trtlab_grader.course import open_course
    from trtlab_grader.nbgrader_glue.setup import release_course

    opened = open_course(course)
    for assignment in release_course(opened):
        say(f"{opened.release / assignment}")


def collect(
    downloads: Annotated[
        Path, typer.Argument(help="Folder or zip of downloads from your LMS, or of student/lab.")
    ],
    course: CourseOption = HERE,
    roster: Annotated[
        Path | None,
        typer.Option(help="CSV: names in the LMS to ids, columns name, id; Moodle needs one."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Take submissions from Canvas, Moodle or plain folders into submitted/.

    What is taken and what is refused is listed with the reason; a refused file stops no other. The
    newest of a file counts, and what was graded before is graded again only where it has changed.
    What a newer submission takes the place of goes to set-aside/.
    """
    from trtlab_grader.course import open_course
    from trtlab_grader.lms.collect import collect as collect_into

    collected = collect_into(open_course(course), downloads, roster)
    if json:
        print_json(collected.to_json())
        return
    for line in collected.taken_lines():
        say(line)
    for line in collected.refused_lines():
        say(f"refused: {line}")
    out.print(f"{len(collected.taken)} taken, {len(collected.refused)} refused")
    if collected.taken:
        out.print("Next: trtlab-grade autograde")


def doctor(course: CourseOption = HERE, json: JsonFlag = False) -> None:
    """Say what grading needs, what is here, and how to get what is missing."""
    from trtlab_grader.doctor import examine

    findings = examine(course)
    if json:
        print_json([finding.model_dump() for finding in findings])
    else:
        print_findings(findings)
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    for command in (init, release, collect, doctor):
        app.command()(command)
