"""The store of records: all or nothing, and the newest is found."""

from pathlib import Path

import pytest

from made_up_records import make_record
from trtlab_grader import store
from trtlab_grader.store import DELIVERABLES, RECORD, Store, content_key


def files(tmp_path: Path, text: str = "an engine") -> Path:
    folder = tmp_path / f"files-{text}"
    (folder / DELIVERABLES).mkdir(parents=True)
    (folder / DELIVERABLES / "resnet50_fp16.engine").write_text(text)
    return folder


def test_a_key_follows_from_its_parts_and_not_from_their_order() -> None:
    assert content_key(a=1, b="x") == content_key(b="x", a=1)
    assert content_key(a=1) != content_key(a=2) != content_key(b=1)


def test_what_was_put_is_found_by_key_and_by_student(tmp_path: Path) -> None:
    kept = Store(tmp_path / "records")
    record = make_record("ada", 2)
    kept.put(record, files(tmp_path))
    assert kept.get(record.key) == record == kept.latest("ada", "02-build")
    engine = kept.folder(record.key) / DELIVERABLES / "resnet50_fp16.engine"
    assert engine.read_text() == "an engine"
    assert kept.latest("ada", "01-export") is None
    assert kept.latest("bob", "02-build") is None


def test_a_regraded_lab_replaces_its_record_and_files(tmp_path: Path) -> None:
    kept = Store(tmp_path / "records")
    before, after = make_record("ada", 2, 0.5), make_record("ada", 2, 1.0, key="ada-2-0.5")
    kept.put(before, files(tmp_path))
    kept.put(after, files(tmp_path, "another"))
    assert kept.get(before.key) == after
    engine = kept.folder(after.key) / DELIVERABLES / "resnet50_fp16.engine"
    assert engine.read_text() == "another"


def test_all_latest_lists_each_student_s_labs_once(tmp_path: Path) -> None:
    kept = Store(tmp_path / "records")
    for number, (student, lab, share) in enumerate(
        [("bob", 1, 1.0), ("ada", 2, 0.5), ("ada", 1, 1.0), ("ada", 2, 1.0)]
    ):
        kept.put(make_record(student, lab, share), files(tmp_path, str(number)))
    found = [(record.student, record.lab, record.points) for record in kept.all_latest()]
    assert found == [("ada", 1, 7.0), ("ada", 2, 25.0), ("bob", 1, 7.0)]


def test_a_crash_before_the_rename_leaves_the_old_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Store(tmp_path / "records")
    kept.put(make_record("ada", 2, 0.5), files(tmp_path))

    def killed(*paths: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store.shutil, "move", killed)
    with pytest.raises(KeyboardInterrupt):
        kept.put(make_record("ada", 2, 1.0), files(tmp_path, "another"))
    latest = kept.latest("ada", "02-build")
    assert latest is not None
    assert latest.points == 12.5


def test_a_record_that_is_not_one_counts_as_none(tmp_path: Path) -> None:
    kept = Store(tmp_path)
    (tmp_path / "key").mkdir()
    (tmp_path / "key" / RECORD).write_text('{"schema_version": 99}')
    assert kept.get("key") is None
