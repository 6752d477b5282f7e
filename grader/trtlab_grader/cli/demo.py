"""`trtlab-grade demo`: a made-up class, from an empty folder to the class report."""

from pathlib import Path
from typing import Annotated

import typer

from trtlab.cli.console import out, say
from trtlab.progress import track


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The course directory; made anew each time.")
    ] = Path("runs/class"),
    lab: Annotated[
        list[str] | None,
        typer.Option("--lab", "-l", help="A lab to hand in and grade; repeatable. Default: three."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Notebooks at a time.")
    ] = None,
) -> None:
    """Grade a made-up class: good work, unfinished work, five mistakes and three cheats.

    It hands in labs 01, 02 and 04, which two cores without a GPU grade in minutes; `--lab` chooses
    others. Where bubblewrap does not work here it grades without a sandbox and says so: these
    submissions are our own.
    """
    from trtlab_grader.cli.live import followed
    from trtlab_grader.cli.summary import print_class
    from trtlab_grader.returns import return_feedback, write_report
    from trtlab_grader.runs import autograde
    from trtlab_grader.samples import CLASS, DEMO_LABS, hand_in_class, new_course
    from trtlab_grader.sandbox import Bubblewrap, SandboxMissing

    labs = tuple(lab) if lab else DEMO_LABS
    course = new_course(output)
    hand_in_class(course, labs)
    sandbox = True
    try:
        Bubblewrap()
    except SandboxMissing as error:
        sandbox = False
        say(f"No sandbox: {error} These submissions are ours, so they are graded without.")
    say(f"Grading labs {', '.join(labs)} of {len(CLASS)} made-up students.")
    with followed(json=False) as view:
        outcome = autograde(course, sandbox=sandbox, jobs=jobs, on_event=view)
    pages = list(track(return_feedback(course), "Feedback"))
    report = write_report(course)
    print_class(course, CLASS, outcome, out)
    if pages:
        say(f"Feedback:     {pages[0]} and {len(pages) - 1} more")
    say(f"Class report: {report}")
    if outcome.failed:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add this module's command to the application."""
    app.command()(demo)
