"""Opening nbgrader's gradebook, with one line where it cannot be opened."""

from collections.abc import Iterator
from contextlib import contextmanager

from nbgrader.api import Gradebook
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from trtlab_grader.course import Course, CourseError
from trtlab_grader.nbgrader_glue.config import put_environment_on_path


@contextmanager
def open_gradebook(course: Course) -> Iterator[Gradebook]:
    """Yield a course's gradebook; it is made where there is none.

    Raises:
        CourseError: if it cannot be opened: a server that does not answer, a URL that is none, a
            driver that is missing, a file that is no database.
    """
    put_environment_on_path()
    try:
        gradebook = Gradebook(course.gradebook_url)
    except (ArgumentError, NoSuchModuleError, ImportError, DBAPIError) as error:
        raise CourseError(
            f"The gradebook {_shown(course.gradebook_url)} cannot be opened: {_reason(error)}. "
            f"{_remedy(error)}"
        ) from error
    with gradebook:
        yield gradebook


def _shown(url: str) -> str:
    """Return a URL without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return repr(url)


def _reason(error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(cause).strip().splitlines()[0].rstrip(".")


def _remedy(error: Exception) -> str:
    if isinstance(error, ImportError):
        return "Install the driver: for PostgreSQL, pip install psycopg2-binary."
    if isinstance(error, DBAPIError):
        return "Is the server running, and may you write there? The URL stands in course.toml."
    return "In course.toml, write postgresql://USER@HOST/NAME, or nothing for SQLite."
