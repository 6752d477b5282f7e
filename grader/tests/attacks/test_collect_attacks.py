"""An archive of downloads cannot write beyond its own submissions."""

import zipfile
from pathlib import Path

import nbformat
import pytest

from attacks.table import CANARY, UNWRITTEN, judged, outside
from classroom import grade, solved, submit
from trtlab_grader.course import Course
from trtlab_grader.lms.collect import collect

LAB = "01-export"
NAMES = (
    f"../submitted/victim/{LAB}/{LAB}.ipynb",
    f"mallory/../victim/{LAB}.ipynb",
    "../.secret",
    "../course.toml",
    f"../source/{LAB}/{LAB}.ipynb",
    "/tmp/trtlab-attack-zip",
    "..\\..\\.secret",
)


@pytest.mark.usefixtures("needs_sandbox")
def test_an_archive_writes_only_what_its_senders_handed_in(
    classroom: Course, tmp_path: Path
) -> None:
    submit(classroom, "victim", LAB, f'{{"{CANARY}": 1}}'.encode())
    before = outside(classroom)
    notebook = solved(classroom, LAB, unwritten=UNWRITTEN[LAB], extra="print('mine')")
    downloads = tmp_path / "downloads.zip"
    with zipfile.ZipFile(downloads, "w") as archive:
        for name in NAMES:
            archive.writestr(name, "owned")
        archive.writestr(f"mallory/{LAB}.ipynb", nbformat.writes(notebook))
    collect(classroom, downloads)
    after = outside(classroom)
    # That a grader was here, and of which student it heard, is noted rightly.
    changed = {path for path, digest in before.items() if after.get(path) != digest}
    new = {Path(path).relative_to(classroom.root) for path in after.keys() - before.keys()}
    noted = {str(classroom.root / name) for name in ("gradebook.db", ".grader.json")}
    assert changed <= noted
    assert new & {path for path in new if path.suffix == ".ipynb"} == {
        Path(f"submitted/mallory/{LAB}/{LAB}.ipynb")
    }
    assert not Path("/tmp/trtlab-attack-zip").exists()
    assert judged(grade(classroom, "mallory", LAB)) == {"1.1": 0, "1.2": 0}
