"""A course directory: where things are, its settings, its secret.

Laid out as nbgrader wants it, {step}/{student}/{assignment}, so that nbgrader's own commands and
formgrader work in it. What the instructor may edit is course.toml; the secret is a file of its own.
"""

import hashlib
import hmac
import json
import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, ValidationError

from trtlab.errors import TrtLabError
from trtlab.files import write_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SETTINGS_FILE, SECRET_FILE = "course.toml", ".secret"
LABS = ("01-export", "02-build", "03-calibrate", "04-infer", "05-benchmark", "06-report")
"""nbgrader's assignments, in the order in which they are graded. 00-start has no points."""


class CourseError(TrtLabError):
    """A course directory is missing, incomplete, or in use by another grader."""


class Settings(BaseModel):
    """What stands in course.toml.

    Attributes:
        name: shown on feedback and reports.
        gradebook: URL of nbgrader's database; empty for SQLite in the course directory.
        memory_gib: of one student's notebook, all its processes together.
        processes: of one student's notebook; threads count.
        file_mib: of one file that it writes.
        disk_mib: of all files in its folder.
        cell_seconds: of one cell.
        notebook_seconds: of a whole notebook, probes included.
        accuracy_images: fresh images that accuracy is measured on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "TensorRT lab"
    gradebook: str = ""
    memory_gib: PositiveFloat = 8
    processes: PositiveInt = 512
    file_mib: PositiveInt = 512
    disk_mib: PositiveInt = 2048
    # An INT8 build with 512 calibration images took 279 s on an H200: h200-pipeline/engines.json.
    cell_seconds: PositiveFloat = 600
    notebook_seconds: PositiveFloat = 2400
    accuracy_images: PositiveInt = 2000


@dataclass(frozen=True)
class Course:
    """A course directory that exists.

    Attributes:
        root: its path, absolute.
        settings: see Settings.
    """

    root: Path
    settings: Settings

    @property
    def source(self) -> Path:
        """The instructor's notebooks: source/{assignment}/{assignment}.ipynb."""
        return self.root / "source"

    @property
    def release(self) -> Path:
        """What students get: release/{assignment}."""
        return self.root / "release"

    @property
    def submitted(self) -> Path:
        """What came back: submitted/{student}/{assignment}."""
        return self.root / "submitted"

    @property
    def autograded(self) -> Path:
        """Graded notebooks: autograded/{student}/{assignment}."""
        return self.root / "autograded"

    @property
    def feedback(self) -> Path:
        """Pages for students: feedback/{student}."""
        return self.root / "feedback"

    @property
    def records(self) -> Path:
        """LabRecords and deliverables, by content hash; see store.py."""
        return self.root / "records"

    @property
    def gradebook_url(self) -> str:
        """URL of nbgrader's database."""
        return self.settings.gradebook or f"sqlite:///{self.root / 'gradebook.db'}"

    def seed(self, *purpose: str) -> int:
        """Return a secret number of 31 bits for a purpose, the same each time.

        Nobody who does not know the course's secret can tell it from a random one.
        """
        message = "\0".join(purpose).encode()
        digest = hmac.new(self._secret(), message, hashlib.sha256).digest()
        return int.from_bytes(digest[:4], "big") >> 1

    def _secret(self) -> bytes:
        path = self.root / SECRET_FILE
        try:
            text = path.read_text(encoding="ascii").strip()
        except OSError as error:
            raise CourseError(
                f"The course's secret {path} cannot be read: {error.strerror}. Restore it from a "
                "backup; with another one, grades of the same work may differ a little."
            ) from error
        if len(text) < 32:
            raise CourseError(f"{path} holds no secret: restore it, or delete it and init again.")
        return text.encode()


def open_course(root: str | Path = ".") -> Course:
    """Open the course directory at `root`, or the nearest one above it.

    Raises:
        CourseError: if there is none, or its settings are wrong.
    """
    start = Path(root).resolve()
    for folder in (start, *start.parents):
        if (folder / SETTINGS_FILE).is_file():
            return Course(folder, _read_settings(folder / SETTINGS_FILE))
    raise CourseError(
        f"{start} is not in a course directory: there is no {SETTINGS_FILE}. Make one with "
        "`trtlab-grade init DIRECTORY`."
    )


def write_secret(root: Path) -> None:
    """Make the course's secret, readable by its owner only, unless there is one."""
    try:
        descriptor = os.open(root / SECRET_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32) + "\n")


def write_settings(root: Path, settings: Settings) -> None:
    """Write course.toml with every setting, unless there is one."""
    path = root / SETTINGS_FILE
    if path.exists():
        return
    lines = ["# Settings of trtlab-grade. What each one means: docs/instructors.md", ""]
    for key, value in settings.model_dump().items():
        lines.append(f"{key} = {_toml(value)}")
    write_text(path, "\n".join(lines) + "\n")


def _toml(value: str | float) -> str:
    if isinstance(value, str):
        # A string of JSON is one of TOML as well, but for a character that JSON need not escape.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"{value:g}"


def _read_settings(path: Path) -> Settings:
    try:
        text = path.read_text(encoding="utf-8")
        return Settings.model_validate(tomllib.loads(text))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CourseError(f"{path} cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        why = f"{name}: {first['msg']}"
        if first["type"] == "extra_forbidden":
            why = f"there is no setting {name!r}; there are {', '.join(Settings.model_fields)}"
        raise CourseError(f"{path}, line {_line_of(name, text)}: {why}.") from error


def _line_of(name: str, text: str) -> int:
    """Return the line on which a key of a TOML document stands.

    Whatever the spelling of keys, tables and texts of several lines: it is the line before which
    the document is whole and lacks the key.
    """
    lines = text.split("\n")
    before = 0
    for number in range(len(lines) + 1):
        try:
            if name in tomllib.loads("\n".join(lines[:number])):
                break
        except tomllib.TOMLDecodeError:
            continue
        before = number
    return before + 1
