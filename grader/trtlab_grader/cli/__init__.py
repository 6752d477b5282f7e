"""The command line `trtlab-grade`: one module for each group of commands.

Dask, nbgrader and PyTorch take seconds to import, so every command imports what it needs inside its
function: `trtlab-grade --help` and a mistyped option answer at once.
"""

import typer

from trtlab_grader.cli import demo, grades, setup
from trtlab_grader.cli.common import GraderGroup

app = typer.Typer(
    name="trtlab-grade",
    cls=GraderGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def trtlab_grade() -> None:
    """Release the labs, grade what comes back, return feedback.

    From nothing to grades, in order:

    [bold]trtlab-grade init COURSE[/bold]        a course directory, for nbgrader as well

    [bold]trtlab-grade release[/bold]            what students get, in COURSE/release

    [bold]trtlab-grade collect DOWNLOADS[/bold]  a folder or zip from your LMS, into submitted/

    [bold]trtlab-grade autograde[/bold]          every notebook in a sandbox, every task judged

    [bold]jupyter lab[/bold]                     formgrader (menu Nbgrader): what a person grades

    [bold]trtlab-grade feedback[/bold]           a page for each student

    [bold]trtlab-grade report[/bold]             a page about the class

    [bold]trtlab-grade export[/bold]             CSV, for Canvas or Moodle too

    Every command but init works in the course directory that you are in, or in --course. The whole
    way is in docs/instructors.md.
    """


for module in (setup, grades, demo):
    module.register(app)


def main() -> None:
    """Entry point of the `trtlab-grade` console script."""
    app()
