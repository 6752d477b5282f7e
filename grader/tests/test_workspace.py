"""The folders of one lab: what is told of them."""

from pathlib import Path

import pytest

from trtlab_grader.workspace import Workspace


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no /tmp/run-1/given/1.2/1.onnx here", "no 1.onnx here"),
        ("'/tmp/run-1/labs/02-build/a.engine': gone", "'a.engine': gone"),
        ("/tmp/run-1/a b", "a b"),
        ("/tmp/run-10/a and /etc/passwd stay", "/tmp/run-10/a and /etc/passwd stay"),
    ],
)
def test_its_files_are_named_without_their_folders(text: str, told: str) -> None:
    assert Workspace(Path("/tmp/run-1"), "02-build").without_folders(text) == told
