"""The sandbox of a grader that is not root. Where the tests run as root, it is tried as nobody."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import trtlab
from trtlab_grader.sandbox import Bubblewrap, view

NOBODY = "65534"
TESTS = """
    test_the_environment_has_no_variable_of_the_graders
    test_what_is_shown_read_only_cannot_be_changed
    test_there_is_no_network
    test_sockets_of_the_hosts_services_are_out_of_reach
    test_processes_outside_can_be_neither_seen_read_nor_signalled
    test_privileges_are_gone_for_good
    test_calls_by_which_programs_break_out_are_refused
    test_links_in_the_work_folder_lead_nowhere
    test_the_work_folder_is_harmless_afterwards
    test_two_jobs_at_a_time_do_not_meet
    test_when_the_grader_is_killed_nothing_is_left
    test_a_fork_bomb_stays_small_and_ends
    test_a_job_that_eats_memory_is_killed
    test_a_notebook_goes_on_after_errors_and_skips_what_it_should
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="all tests run as an ordinary user already")
def test_the_same_holds_for_a_grader_that_is_not_root(
    bubblewrap: Bubblewrap, tmp_path: Path
) -> None:
    """Nobody may not read what root's Python is made of, so show it in a place that nobody may."""
    checkout = Path(trtlab.__file__).resolve().parents[2]
    shown = {*view.python_folders(), str(checkout)}
    folders = sorted({os.fspath(parent) for path in shown for parent in Path(path).parents})
    parents = [word for path in folders[1:] for word in ("--perms", "0755", "--dir", path)]
    binds = [word for path in sorted(shown) for word in ("--ro-bind", path, path)]
    work = tmp_path / "nobody"
    work.mkdir()
    os.chown(work, int(NOBODY), int(NOBODY))
    command = [
        *["bwrap", "--die-with-parent", "--tmpfs", "/", "--dev-bind", "/proc", "/proc"],
        *["--dev-bind", "/dev", "/dev", "--dev-bind", "/sys", "/sys", "--ro-bind", "/etc", "/etc"],
        *["--ro-bind", "/usr", "/usr", "--perms", "1777", "--tmpfs", "/tmp", *parents, *binds],
        *["--bind", str(work), "/tmp/pytest", "--chdir", str(checkout)],
        *[word for link in ("bin", "lib", "lib64", "sbin") for word in _link(link)],
        *["--", "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"],
        *[sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-x"],
        *["--basetemp=/tmp/pytest/base", "-k", " or ".join(TESTS.split())],
        *["--ignore", __file__, str(Path(__file__).parent)],
    ]
    environment = {**os.environ, "HOME": "/tmp/pytest", "TMPDIR": "/tmp"}
    answer = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert answer.returncode == 0, answer.stdout[-4000:] + answer.stderr[-4000:]
    assert "skipped" not in answer.stdout
    assert int(answer.stdout.split(" passed")[0].split()[-1]) >= len(TESTS.split())


def _link(name: str) -> list[str]:
    path = f"/{name}"
    if os.path.islink(path):
        return ["--symlink", os.readlink(path), path]
    return ["--ro-bind", path, path] if os.path.exists(path) else []
