"""What the commands share: error lines, the two consoles, common options."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from trtlab.errors import TrtLabError

out = Console(highlight=False)
"""Results: tables and paths. Progress and errors go to stderr."""


def say(line: str) -> None:
    """Print one line on stdout as it is: a path that is broken in two cannot be copied."""
    out.print(line, soft_wrap=True, markup=False)


class ErrorReportingGroup(TyperGroup):
    """Turns every intended exception into one line on stderr and a non-zero exit status."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; exit 1 on a TrtLabError, 130 on Ctrl-C."""
        try:
            return super().invoke(ctx)
        except TrtLabError as error:
            # One line, whatever the width of the terminal: scripts read it.
            print("Error: " + " ".join(str(error).split()), file=sys.stderr)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            print("Interrupted: no half-written file was left behind.", file=sys.stderr)
            raise typer.Exit(130) from error


def print_json(value: Any) -> None:
    """Print `value` as JSON on stdout, for machines."""
    print(json.dumps(value, indent=2))


def print_findings(findings: Sequence[Any]) -> None:
    """Print a doctor's findings as a table: what, state, found and remedy of each."""
    styles = {"ok": "green", "missing": "red", "optional": "yellow"}
    table = Table("what", "state", "found", "how to get it", box=None, pad_edge=False)
    for finding in findings:
        state = Text(finding.state, style=styles[finding.state])
        table.add_row(Text(finding.what), state, Text(finding.found), Text(finding.remedy))
    out.print(table)


def report_skipped(skipped: Sequence[tuple[Path, str]]) -> None:
    """Count and name on stderr the unreadable files that were left out."""
    if skipped:
        print(f"Skipped {len(skipped)} unreadable files:", file=sys.stderr)
    for _, reason in skipped:
        print(f"  {reason}", file=sys.stderr)


JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

WorkloadOption = Annotated[
    str,
    typer.Option(
        "--workload",
        "-w",
        help="Model and dataset under one name: auto, digits, imagenette, cifar10 or "
        "imagefolder:PATH. It fixes classes and preprocessing.",
    ),
]

OutputFolder = Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")]
