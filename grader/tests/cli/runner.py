"""Running `trtlab-grade` inside the test process, where PyTorch and nbgrader are imported once."""

from dataclasses import dataclass

from typer.testing import CliRunner

from trtlab_grader.cli import app


@dataclass(frozen=True)
class Ended:
    status: int
    out: str
    err: str


def trtlab_grade(*arguments: object) -> Ended:
    """Run the command line; an unexpected exception fails the test with its own traceback."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ended(result.exit_code, result.stdout, result.stderr)


def refused(*arguments: object) -> str:
    """Return the one line with which `trtlab-grade` refuses the arguments."""
    ended = trtlab_grade(*arguments)
    assert ended.status == 1, ended
    assert ended.err.startswith("Error: "), ended
    assert ended.err.count("\n") == 1, "more than one line"
    assert "Traceback" not in ended.err + ended.out
    assert ended.out == "", "something was printed as if it had worked"
    return ended.err
