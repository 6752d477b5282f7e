"""Bad input on the command line: one clear line, exit status 1, no traceback, nothing done."""

import errno
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from cli.conftest import hand_in
from cli.runner import refused, trtlab_grade
from trtlab_grader.course import SECRET_FILE, SETTINGS_FILE, Course
from trtlab_grader.nbgrader_glue.lock import LOCK_FILE

# nbgrader relies on a cascade of SQLAlchemy's that is to be dropped one day.
pytestmark = pytest.mark.filterwarnings("ignore:Object of type <Submitted")


# --- what is no course


@pytest.mark.parametrize(
    "command",
    [
        ("release",),
        ("collect", "."),
        ("autograde",),
        ("feedback",),
        ("report",),
        ("export", "-o", "x.csv"),
    ],
    ids=lambda command: command[0],
)
def test_every_command_says_where_there_is_no_course(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    line = refused(*command, "--course", tmp_path)
    assert str(tmp_path) in line
    assert "trtlab-grade init DIRECTORY" in line


@pytest.mark.usefixtures("needs_sandbox")
def test_doctor_says_so_too_and_is_content(tmp_path: Path) -> None:
    ended = trtlab_grade("doctor", "--course", tmp_path, "--json")
    assert ended.status == 0
    assert '"found": "none here"' in ended.out


# --- init


def test_init_refuses_a_place_where_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    assert "cannot be made" in refused("init", tmp_path / "taken")
    assert "Not a directory" in refused("init", tmp_path / "taken" / "below")
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://me:hunter2@127.0.0.1:1/x", "Is the server running"),
        ("nonsense", "postgresql://USER@HOST/NAME"),
        ("oracle9://me:hunter2@host/x", "postgresql://USER@HOST/NAME"),
        ("mysql+pymysql://me:hunter2@host/x", "No module named"),
    ],
)
def test_init_names_a_gradebook_that_cannot_be_opened_without_its_password(
    url: str, words: str, tmp_path: Path
) -> None:
    line = refused("init", tmp_path / "course", "--gradebook", url)
    assert words in line
    assert "hunter2" not in line


def test_init_refuses_options_that_a_course_contradicts(course: Course) -> None:
    line = refused("init", course.root, "--name", "Another")
    assert "has another name" in line
    assert str(course.root / SETTINGS_FILE) in line
    assert trtlab_grade("init", course.root, "--name", course.settings.name).status == 0
    assert trtlab_grade("init", course.root).status == 0


# --- settings, secret, gradebook, release, lock


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("memory_gib = 'much'", "line 1: memory_gib"),
        ("# mine\n\nmemory_gb = 8", "line 3: there is no setting 'memory_gb'; there are name, "),
        ('name = "x"\n[memory]\ngib = 8', "line 2: there is no setting 'memory'"),
        ('name = """a\nmemory = 1"""\n"memory" = [\n8]', "line 3: there is no setting 'memory'"),
        ("name = 'x'\ncell_seconds = -1", "line 2: cell_seconds: Input should be greater than 0"),
        ("not toml", "cannot be read"),
    ],
)
def test_a_wrong_setting_is_named(course: Course, text: str, words: str) -> None:
    (course.root / SETTINGS_FILE).write_text(text)
    assert words in refused("autograde", "--course", course.root)
    ended = trtlab_grade("doctor", "--course", course.root, "--json")
    assert ended.status == 1
    assert words in ended.out


def test_a_lost_secret_is_to_be_restored(course: Course) -> None:
    hand_in(course, "ada", "01-export")
    (course.root / SECRET_FILE).unlink()
    assert "Restore it from a backup" in refused("autograde", "--course", course.root)


def damage(course: Course) -> None:
    (course.root / "gradebook.db").write_text("this is no database" * 100)


@pytest.mark.parametrize(
    "command", [("autograde",), ("feedback",), ("report",), ("export", "-o", "out.csv")]
)
def test_a_damaged_gradebook_is_one_line(graded: Course, command: tuple[str, ...]) -> None:
    damage(graded)
    line = refused(*command, "--course", graded.root)
    assert "cannot be opened: file is not a database" in line


def test_doctor_finds_a_damaged_gradebook(course: Course) -> None:
    damage(course)
    ended = trtlab_grade("doctor", "--course", course.root, "--json")
    assert ended.status == 1
    assert "file is not a database" in ended.out


def test_a_lab_that_was_not_released_is_named(course: Course) -> None:
    hand_in(course, "ada", "01-export")
    shutil.rmtree(course.release / "01-export")
    line = refused("autograde", "--course", course.root)
    assert "01-export has not been released" in line
    assert "trtlab-grade release" in line


def test_release_without_notebooks_says_how_to_get_them(course: Course) -> None:
    shutil.rmtree(course.source)
    assert "trtlab-grade init" in refused("release", "--course", course.root)


@pytest.mark.parametrize("command", [("autograde",), ("release",), ("collect", ".")])
def test_a_course_in_use_is_left_to_its_user(course: Course, command: tuple[str, ...]) -> None:
    with FileLock(course.root / LOCK_FILE):
        line = refused(*command, "--course", course.root)
    assert "is in use by another grader" in line


# --- students and labs


def test_students_and_labs_that_do_not_exist_are_named(graded: Course) -> None:
    there = ("--course", graded.root)
    assert "Nothing was handed in by nobody:" in refused("autograde", "nobody", *there)
    assert "'2-build'; there are 01-export, 02-build" in refused(
        "autograde", "--lab", "2-build", *there
    )
    line = refused("feedback", "ada", "nobody", *there)
    assert "Nothing of nobody has been graded; graded are ada, mallory" in line
    assert not (graded.feedback / "ada" / "feedback.html").exists()


def test_feedback_before_anything_is_graded_says_what_comes_first(course: Course) -> None:
    assert "trtlab-grade autograde" in refused("feedback", "--course", course.root)


# --- collect


def not_there(path: Path) -> None:
    pass


def no_zip(path: Path) -> None:
    path.write_text("<html>Please log in</html>")


def half_a_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ada/01-export.ipynb", "{}" * 1000)
    path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize("make", [not_there, no_zip, half_a_zip])
def test_a_download_that_cannot_be_read(
    course: Course, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "download.zip")
    line = refused("collect", tmp_path / "download.zip", "--course", course.root)
    assert "neither a folder nor a zip" in line
    assert "Errno" not in line
    assert not course.submitted.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no CSV that can be read"),
        ("who,id\nAda,ada\n", "needs the columns name and id; it has who, id"),
        ("name,id\nAda,../ada\n", "line 2: '../ada' is no id for a student"),
        ("name,id\nAda,ada\nAda L,Ada\n", "the id ada is there more than once"),
    ],
)
def test_a_roster_that_cannot_be_used(
    course: Course, tmp_path: Path, text: str | None, words: str
) -> None:
    downloads = tmp_path / "downloads" / "ada"
    downloads.mkdir(parents=True)
    (downloads / "01-export.ipynb").write_text("{}")
    roster = tmp_path / "roster.csv"
    if text is not None:
        roster.write_text(text)
    line = refused("collect", downloads.parent, "--roster", roster, "--course", course.root)
    assert words in line
    assert not course.submitted.exists()


def test_collecting_the_course_itself_is_refused(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(course.root)
    assert "nobody handed that in" in refused("collect", ".")
    assert not course.submitted.exists()


# --- what cannot be written


@pytest.mark.parametrize("command", ["report", "export"])
def test_an_output_that_cannot_be_written(graded: Course, command: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for output, words in ((tmp_path, "it is a folder"), (tmp_path / "file" / "x", "is a file")):
        assert words in refused(command, "--output", output, "--course", graded.root)
    assert (tmp_path / "file").read_text() == "mine"


def test_what_the_disk_refuses_is_one_line_and_what_nobody_expects_is_not_hidden(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(number: int) -> None:
        def write_report(*_: object) -> Path:
            raise OSError(number, "in words", "/a/file")

        monkeypatch.setattr("trtlab_grader.returns.write_report", write_report)

    fail(errno.EROFS)
    assert "/a/file: in words." in refused("report", "--course", course.root)
    fail(errno.EIO)
    with pytest.raises(OSError, match="in words"):
        trtlab_grade("report", "--course", course.root)


def test_a_mistyped_option_is_a_usage_error(course: Course) -> None:
    for arguments in (("export",), ("export", "-f", "latex", "-o", "x"), ("autograde", "-j", "0")):
        ended = trtlab_grade(*arguments, "--course", course.root)
        assert ended.status == 2
        assert "trtlab-grade" in ended.err
        assert " -h" in ended.err
