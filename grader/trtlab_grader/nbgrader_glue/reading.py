"""How nbgrader reads submissions: repaired against the release, and never through a link.

nbgrader opens a submitted notebook with nbformat, which raises on what is not JSON, follows links,
and has no bounds. `ReadSubmission` takes its place as the exporter of `nbgrader autograde`.
"""

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode

from trtlab_grader.course import Course, CourseError
from trtlab_grader.notebooks import repair_file

SET_ASIDE = "set-aside"


class ReadSubmission(NotebookExporter):
    """nbconvert's exporter to notebooks, which repairs what it reads.

    Its parent is nbgrader's Autograde, which exports twice: the submission, and then what it wrote
    in the first pass. To repair twice does no harm.
    """

    def from_filename(
        self, filename: str, resources: Any = None, **kw: Any
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Export a submitted notebook, whatever the file is."""
        path = Path(filename)
        repaired = repair_file(path, self._released(resources["nbgrader"]))
        for flag in repaired.flags:
            self.log.warning("%s: %s", path, flag.text)
        resources["metadata"] = {"name": path.stem, "path": str(path.parent)}
        return self.from_notebook_node(repaired.notebook, resources, **kw)

    def _released(self, names: dict[str, str]) -> NotebookNode:
        directory = self.parent.coursedir
        folder = directory.format_path(directory.release_directory, ".", names["assignment"])
        return read_release(Path(folder) / f"{names['notebook']}.ipynb")


def read_release(path: Path) -> NotebookNode:
    """Read a notebook of the release.

    Raises:
        CourseError: if there is none.
    """
    try:
        return nbformat.read(path, as_version=4)
    except OSError as error:
        raise CourseError(
            f"The release {path} cannot be read: {error.strerror}. Submissions are repaired "
            "against it; make it with `trtlab-grade release`."
        ) from error


class SetLinksAside:
    """A hook of nbgrader's, run before a submission is converted.

    nbgrader copies whatever lies in the folder, and follows links. So links, pipes and devices are
    moved out of submitted/ to set-aside/ before that, as they are, for whoever wants to see them.
    """

    def __init__(self, course: Course) -> None:
        self._course = course

    def __call__(self, *, notebooks: list[str], **_: object) -> None:
        """Look through the folders of the notebooks."""
        for folder in {Path(notebook).parent for notebook in notebooks}:
            for path in _irregular(self._course.submitted, folder):
                name = path.relative_to(self._course.submitted)
                target = self._course.root / SET_ASIDE / f"{time.time_ns()}" / name
                target.parent.mkdir(parents=True)
                os.rename(path, target)


def _irregular(top: Path, folder: Path) -> Iterator[Path]:
    """Yield what is neither file nor folder: on the way from `top` to a folder, then within."""
    for path in reversed([folder, *folder.parents[: len(folder.relative_to(top).parts) - 1]]):
        if path.is_symlink():
            yield path
            return
    for parent, folders, files in os.walk(folder):
        for name in folders + files:
            path = Path(parent) / name
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                yield path
