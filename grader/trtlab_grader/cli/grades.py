"""`trtlab-grade autograde`, `feedback`, `report` and `export`: grades, and what is made of them."""

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from trtlab.cli.console import JsonFlag, out, print_json, say
from trtlab.progress import track
from trtlab_grader.cli.common import HERE, CourseOption


class Layout(str, Enum):
    """Which LMS a CSV file is for."""

    csv = "csv"
    canvas = "canvas"
    moodle = "moodle"


StudentsArgument = Annotated[
    list[str] | None, typer.Argument(help="Ids of students; everybody by default.")
]


def autograde(
    students: StudentsArgument = None,
    lab: Annotated[
        list[str] | None,
        typer.Option("--lab", "-l", help="Only this lab: 02-build; repeatable."),
    ] = None,
    course: CourseOption = HERE,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--regrade",
            help="Go on with what has no grade yet (also after a crash), or grade all of it again. "
            "A person's grades and comments survive both.",
        ),
    ] = True,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Notebooks at a time.")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Address of a Dask scheduler whose workers see the course directory."),
    ] = None,
    sandbox: Annotated[
        bool,
        typer.Option(
            "--sandbox/--no-sandbox",
            help="Without a sandbox, students' code runs with your rights; every grade says so.",
        ),
    ] = True,
    json: JsonFlag = False,
) -> None:
    """Run every notebook in a sandbox, judge every task from outside, fill the gradebook.

    Without a GPU, tasks on speed stay open; run it again on a machine with one to fill them in.
    """
    from trtlab_grader.cli.live import followed
    from trtlab_grader.cli.summary import print_summary, summary
    from trtlab_grader.course import open_course
    from trtlab_grader.runs import autograde as run

    opened = open_course(course)
    try:
        with followed(json) as view:
            outcome = run(
                opened,
                students or (),
                lab or (),
                sandbox=sandbox,
                regrade=not resume,
                scheduler=scheduler,
                jobs=jobs,
                on_event=view,
            )
    except KeyboardInterrupt:
        print("What has been graded is kept; the same command goes on.", file=sys.stderr)
        raise
    if json:
        print_json(summary(opened, outcome))
    else:
        print_summary(opened, outcome, out)
    if outcome.failed:
        raise typer.Exit(1)


def feedback(students: StudentsArgument = None, course: CourseOption = HERE) -> None:
    """Write feedback/STUDENT/feedback.html: scores by criterion, a card for each check."""
    from trtlab_grader.course import open_course
    from trtlab_grader.returns import return_feedback

    for path in list(track(return_feedback(open_course(course), students or ()), "Feedback")):
        say(str(path))


def report(
    course: CourseOption = HERE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: report.html in the course.")
    ] = None,
) -> None:
    """Write a page about the class: scores, misconceptions, what a person must look at."""
    from trtlab_grader.course import open_course
    from trtlab_grader.returns import write_report

    say(str(write_report(open_course(course), output)))


def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="The CSV file to write.")],
    layout: Annotated[
        Layout, typer.Option("--format", "-f", help="csv, or the layout that an LMS imports.")
    ] = Layout.csv,
    course: CourseOption = HERE,
) -> None:
    """Write the gradebook's scores as CSV."""
    from trtlab_grader.course import open_course
    from trtlab_grader.lms.export import export as export_grades

    say(str(export_grades(open_course(course), output, layout.value)))


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    for command in (autograde, feedback, report, export):
        app.command()(command)
