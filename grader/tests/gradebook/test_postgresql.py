"""The gradebook in a real PostgreSQL, which the test starts from Debian's package."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nbgrader.api import Gradebook

from gradebook.conftest import LAB, everything_in
from gradebook.made_up import record
from trtlab_grader.course import Course, Settings
from trtlab_grader.nbgrader_glue.setup import init_course
from trtlab_grader.nbgrader_glue.writer import write_grades

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server that listens on a socket in a folder of its own; yield a gradebook's URL."""
    if not PROGRAMS:
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed (extra: postgres)")
    folder = Path("/tmp") / f"trtlab-postgresql-{os.getpid()}"  # a socket's path must be short
    folder.mkdir(mode=0o700)
    user = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        os.chown(folder, user.pw_uid, user.pw_gid)

    def run(program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(PROGRAMS[-1] / program), "-D", str(folder / "data"), *arguments],
            user=user.pw_uid if os.getuid() == 0 else None,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        run("initdb", "--auth=trust", "--username=grader", "--encoding=UTF8", "--no-sync")
        options = f"-c listen_addresses='' -k {folder} -F"
        run("pg_ctl", "start", "-w", "-t", "120", "-l", str(folder / "log"), "-o", options)
        try:
            yield f"postgresql://grader@/postgres?host={folder}"
        finally:
            run("pg_ctl", "stop", "-m", "immediate")
    finally:
        shutil.rmtree(folder)


def test_a_course_in_postgresql_grades_as_one_in_sqlite(
    server: str, course: Course, submit: Callable[..., Path], tmp_path: Path
) -> None:
    submit("ada", "06-report", change=lambda data: data["cells"].append({"source": "\0"}))
    submit("bob")
    other = init_course(tmp_path / "other", Settings(gradebook=server))
    assert not (other.root / "gradebook.db").exists()
    shutil.copytree(course.submitted, other.submitted)
    made = record("ada", "06-report")
    assert made.tasks["6.1"].verdict is not None
    finding = made.tasks["6.1"].verdict.findings[0].model_copy(update={"measured": "a NUL: \0"})
    odd = made.tasks["6.1"].verdict.model_copy(update={"findings": (finding,)})
    made.tasks["6.1"].verdict = odd
    for graded in (course, other):
        result = write_grades(graded, [made, record("bob", LAB, gpu=False)])
        assert result.failed == {}

    def comparable(graded: Course) -> dict[str, object]:
        def plain(value: object) -> object:
            return (
                {k: v for k, v in value.items() if k != "id"} if isinstance(value, dict) else value
            )

        return {name: plain(value) for name, value in everything_in(graded).items()}

    assert comparable(other) == comparable(course)
    before = everything_in(other)
    write_grades(other, [made, record("bob", LAB, gpu=False)])
    assert everything_in(other) == before
    with Gradebook(other.gradebook_url) as gradebook:
        assert gradebook.find_submission(LAB, "bob").score == 10
