"""Running `trtlab` inside the test process, where PyTorch is imported once."""

from dataclasses import dataclass

from typer.testing import CliRunner

from trtlab.cli import app


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str


def trtlab(*arguments: object) -> Outcome:
    """Run the command line; an unexpected exception fails the test with its own traceback."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)
