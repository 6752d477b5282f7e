"""Options that the commands share."""

from pathlib import Path
from typing import Annotated

import typer

CourseOption = Annotated[
    Path,
    typer.Option("--course", "-c", help="The course directory, or a folder in it.", metavar="DIR"),
]

HERE = Path()
