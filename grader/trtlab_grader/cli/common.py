"""What the commands share: options, and one line for what the disk refuses."""

import errno
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from trtlab.cli.console import ErrorReportingGroup

CourseOption = Annotated[
    Path,
    typer.Option("--course", "-c", help="The course directory, or a folder in it.", metavar="DIR"),
]

HERE = Path()

_ADVICE = "Free some space, or see to it that you may read and write there; then run it again."
_REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)


class GraderGroup(ErrorReportingGroup):
    """Turns what the disk refuses into one line, wherever nbgrader or we were writing."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what is not expected keeps its traceback."""
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            what = f"{error.filename or 'A file'}: {error.strerror}. {_ADVICE}"
            print(f"Error: {what}", file=sys.stderr)
            raise typer.Exit(1) from error
