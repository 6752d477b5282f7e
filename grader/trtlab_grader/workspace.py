"""The folders that grading one lab needs, laid out so that each belongs to one side.

labs/{assignment}/   the student's kernel works here; the labs before it lie beside it
given/{task}/        what probes give: ours, the kernel may read it
made/{task}/         what the kernel makes of it: the kernel's, copied before it is read
evidence/{assignment}/, evidence/made/{task}/   those copies: ours
"""

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from trtlab_grader.owned import owned_folder
from trtlab_grader.receive import Allowance, Received, receive

WORK_ALLOWANCE = Allowance(files=3000)
MADE_ALLOWANCE = Allowance(files=400, file_bytes=256 << 20, total_bytes=1 << 30)


@dataclass(frozen=True)
class Workspace:
    """See the top of this file. Its path is short: a socket's has 107 bytes at most."""

    root: Path
    assignment: str

    @property
    def labs(self) -> Path:
        """The labs as the student's kernel sees them."""
        return self.root / "labs"

    @property
    def work(self) -> Path:
        """Where the notebook runs."""
        return self.labs / self.assignment

    @property
    def given(self) -> Path:
        """What probes give; the kernel cannot write here."""
        return self.root / "given"

    @property
    def made(self) -> Path:
        """What the kernel writes in probes."""
        return self.root / "made"

    @property
    def evidence(self) -> Path:
        """Copies that no student's code can reach."""
        return self.root / "evidence"

    @property
    def lab(self) -> Path:
        """The copy of the lab's folder that is judged."""
        return self.evidence / self.assignment

    def renew(self, notebook: NotebookNode) -> None:
        """Empty the folders that the kernel writes to, and put the notebook into its own.

        A kernel that takes the place of another then starts as the first one did, whatever that
        one has left: a full disk, no folder at all.
        """
        for folder in (self.work, self.made):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o755, exist_ok=True)
        nbformat.write(notebook, self.work / f"{self.assignment}.ipynb")

    def without_folders(self, text: str) -> str:
        """Return a text that names files of this workspace without the folders above them.

        Those have another name each time, and tell a student nothing.
        """
        return re.sub(rf"{re.escape(str(self.root))}/(?:[^\s'\"]*/)?", "", text)

    def give(self, task: str) -> Path:
        """Return the empty folder that a task's probe fills.

        What lies where the kernel will answer goes: it was put there before anything was asked.
        """
        answers = self.made / task
        with suppress(OSError):
            if answers.is_symlink():
                answers.unlink()
        shutil.rmtree(answers, ignore_errors=True)
        folder = self.given / task
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o755)
        return folder

    def take(self, task: str) -> tuple[Path, Received]:
        """Copy what the kernel made in a task's probe; return the copy, and what was refused."""
        target = self.evidence / "made" / task
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(exist_ok=True)
        if not (self.made / task).is_dir() or (self.made / task).is_symlink():
            target.mkdir()
            return target, Received()
        return target, receive(self.made / task, target, allowance=MADE_ALLOWANCE)

    def take_work(self, notebook: NotebookNode) -> Received:
        """Copy what the notebook has left in its folder, and put the notebook beside it."""
        shutil.rmtree(self.lab, ignore_errors=True)
        received = receive(self.work, self.lab, allowance=WORK_ALLOWANCE)
        # Ours, whatever the student's code made of the file.
        path = self.lab / f"{self.assignment}.ipynb"
        path.unlink(missing_ok=True)
        nbformat.write(notebook, path)
        return received


@contextmanager
def workspace(
    assignment: str, notebook: NotebookNode, earlier: Mapping[str, Sequence[Path]]
) -> Iterator[Workspace]:
    """Make a workspace; it is removed at the end of the block.

    Args:
        assignment: nbgrader's name.
        notebook: what will run.
        earlier: assignment -> files that that lab left; copied in, since the kernel's user could
            not read the course directory.
    """
    with owned_folder(Path(tempfile.gettempdir())) as root:
        space = Workspace(root, assignment)
        root.chmod(0o755)
        for folder in (space.labs, space.given, space.evidence):
            folder.mkdir(mode=0o755)
        for name, files in earlier.items():
            for parent in (space.labs, space.evidence):
                _copy_plain(files, parent / name)
        space.renew(notebook)
        yield space


def _copy_plain(files: Sequence[Path], target: Path) -> None:
    """Copy files into a new folder, readable by everybody."""
    target.mkdir(mode=0o755)
    for path in files:
        if path.is_file() and not path.is_symlink():
            shutil.copyfile(path, target / path.name)
            (target / path.name).chmod(0o644)
