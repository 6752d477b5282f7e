"""What hostile code tries from inside the sandbox."""

import json
import os
import secrets
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

import trtlab
import trtlab_grader
from trtlab.lab.exchange import ExchangeError, read_bytes
from trtlab_grader.sandbox import view

from .conftest import RunPython

AS_ROOT = os.geteuid() == 0


def test_code_runs_and_writes_in_its_own_folder_tmp_and_home(
    run_python: RunPython, work: Path
) -> None:
    code = """
        import pathlib, tempfile
        for folder in (".", tempfile.gettempdir(), pathlib.Path.home(), "/dev/shm"):
            pathlib.Path(folder, "made").write_text("by the student")
        print("written")
    """
    assert run_python(code) == ("written", "exit status 0")
    assert (work / "made").read_text() == "by the student"
    assert (work / "made").stat().st_uid == os.geteuid()
    assert not Path("/tmp/made").exists()
    assert not (Path.home() / "made").exists()


def test_the_environment_has_no_variable_of_the_graders(
    run_python: RunPython, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_SECRET", "hunter2")
    code = """
        import glob
        for path in glob.glob("/proc/[0-9]*/environ"):
            try:
                print(open(path).read())
            except PermissionError:
                pass
    """
    printed, _ = run_python(code, environment={"TRTLAB_CACHE": "/cache"})
    assert "TRTLAB_CACHE=/cache" in printed
    assert "hunter2" not in printed


def test_no_file_of_the_course_or_of_another_submission_can_be_found(
    run_python: RunPython, tmp_path: Path
) -> None:
    name = f"secret-{secrets.token_hex(8)}"
    hidden = [tmp_path / "submitted" / "grace" / name, tmp_path / name, Path.home() / name]
    for path in hidden:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("the answers")
    code = """
        import os, sys
        for parent, folders, files in os.walk("/"):
            if parent == "/":
                folders.remove("proc")
            if sys.argv[1] in files:
                print("found", parent)
        for path in sys.argv[2:]:
            print(os.path.exists(path))
    """
    try:
        printed, _ = run_python(code, name, *hidden)
    finally:
        (Path.home() / name).unlink()
    assert printed.split() == ["False"] * 3


@pytest.mark.parametrize(
    "path",
    [
        "/etc/shadow",
        "/etc/ssh",
        "/var",
        "/run",
        "/home",
        "/boot",
        str(Path(trtlab_grader.__file__).parent),
        str(Path(trtlab.__file__).parents[2] / "solutions"),
        str(Path(trtlab.__file__).parents[2] / ".git"),
    ],
)
def test_paths_of_the_host_are_not_there(run_python: RunPython, path: str) -> None:
    printed, _ = run_python("import os, sys; print(os.path.lexists(sys.argv[1]))", path)
    assert printed == "False"


def test_the_grader_is_hidden_where_it_is_installed_beside_the_library(
    run_python: RunPython, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grader = tmp_path / "site-packages" / "trtlab_grader"
    grader.mkdir(parents=True)
    (grader / "rubric.yml").write_text("points")
    (grader.parent / "library.py").write_text("code")
    tmp_path.chmod(0o755)
    monkeypatch.setattr(trtlab_grader, "__file__", str(grader / "__init__.py"))
    code = "import os, sys; print(os.listdir(sys.argv[1]), os.listdir(sys.argv[2]))"
    printed, _ = run_python(code, grader.parent, grader, readonly=[grader.parent])
    assert "library.py" in printed
    assert printed.endswith(" []")


def test_what_is_shown_read_only_cannot_be_changed(run_python: RunPython, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "timing.cache").write_bytes(b"trusted")
    cache.chmod(0o777)
    (cache / "timing.cache").chmod(0o666)
    library = Path(trtlab.__file__)
    code = """
        import os, sys
        def attempt(call, *arguments):
            try:
                call(*arguments)
                print("DONE", call, arguments)
            except OSError:
                print("refused")
        for folder in sys.argv[1:] + ["/usr", "/etc", "/", "/dev", sys.prefix]:
            attempt(os.mkdir, folder + "/made")
            attempt(os.chmod, folder, 0o777)
        for path in [sys.argv[1] + "/timing.cache", sys.argv[2] + "/__init__.py"]:
            attempt(open, path, "r+b")
            attempt(os.truncate, path, 0)
            attempt(os.unlink, path)
            attempt(os.utime, path)
        os.system("mount -o remount,rw " + sys.argv[1])
        attempt(open, sys.argv[1] + "/timing.cache", "r+b")
    """
    before = library.read_bytes()
    printed, _ = run_python(code, cache, library.parent, readonly=[cache])
    assert "DONE" not in printed
    assert printed.count("refused") == 23
    assert (cache / "timing.cache").read_bytes() == b"trusted"
    assert os.listdir(cache) == ["timing.cache"]
    assert library.read_bytes() == before


def test_there_is_no_network(run_python: RunPython) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        code = """
            import socket, sys
            for address in (("127.0.0.1", int(sys.argv[1])), ("192.0.2.1", 80), ("8.8.8.8", 53)):
                try:
                    socket.create_connection(address, timeout=5)
                    print("CONNECTED", address)
                except OSError as error:
                    print("refused")
        """
        printed, _ = run_python(code, port)
    assert printed.split() == ["refused"] * 3


def test_sockets_of_the_hosts_services_are_out_of_reach(
    run_python: RunPython, tmp_path: Path
) -> None:
    path, abstract = str(tmp_path / "service.sock"), f"\0{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        for service, address in ((first, path), (second, abstract)):
            service.bind(address)
            service.listen()
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(address)
        code = """
            import socket, sys
            for address in (sys.argv[1], chr(0) + sys.argv[2]):
                try:
                    socket.socket(socket.AF_UNIX).connect(address)
                    print("CONNECTED", address)
                except OSError:
                    print("refused")
        """
        printed, _ = run_python(code, path, abstract[1:])
    assert printed.split() == ["refused"] * 2


def test_processes_outside_can_be_neither_seen_read_nor_signalled(run_python: RunPython) -> None:
    with subprocess.Popen(["sleep", "60"]) as victim:
        code = """
            import os, signal, sys
            pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
            print(len(pids) <= 4, int(sys.argv[1]) in pids, int(sys.argv[2]) in pids)
            for path in ("/proc/%s/mem", "/proc/%s/environ", "/proc/%s/root/etc/shadow"):
                for pid in (sys.argv[1], sys.argv[2], "1"):
                    try:
                        open(path % pid, "rb").read(1)
                        print("READ", path % pid) if pid != "1" or "shadow" in path else None
                    except OSError:
                        pass
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            for pid in (int(sys.argv[1]), int(sys.argv[2]), -1):
                try:
                    os.kill(pid, signal.SIGTERM)
                except ProcessLookupError:
                    print("nobody")
        """
        printed, _ = run_python(code, os.getpid(), victim.pid)
        assert victim.poll() is None
        victim.kill()
    assert printed.split("\n")[0] == "True False False"
    assert "READ" not in printed


@pytest.mark.skipif(not AS_ROOT, reason="only root can make a file that is set-user-id root")
def test_a_set_user_id_program_gives_nothing(run_python: RunPython, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    shutil.copy("/usr/bin/id", tools / "id")
    (tools / "id").chmod(0o4755)
    outside = subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", "id", "-u"], capture_output=True, text=True
    )
    assert outside.stdout == "65534\n"
    code = "import subprocess, sys; subprocess.run([sys.argv[1] + '/id', '-u'])"
    printed, _ = run_python(code, tools, readonly=[tools])
    assert int(printed) >= 0x7000_0000


def test_privileges_are_gone_for_good(run_python: RunPython) -> None:
    code = """
        import json, re
        status = open("/proc/self/status").read()
        print(json.dumps(re.findall(r"Cap(?:Prm|Eff|Bnd|Inh|Amb):\\t(\\w+)", status)))
        print(re.findall(r"(?:NoNewPrivs|Seccomp):\\t(\\w+)", status))
    """
    printed, _ = run_python(code)
    held, flags = printed.split("\n")
    assert set(json.loads(held)) == {"0" * 16}
    assert flags == "['1', '2']"


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("libc.unshare(0x10000000)", "EPERM"),
        ("libc.syscall(NR['clone'], 0x10000011, 0, 0, 0, 0)", "EPERM"),
        ("libc.syscall(435, 0, 0)", "ENOSYS"),
        ("libc.ptrace(0, 0, 0, 0)", "EPERM"),
        ("libc.syscall(NR['keyctl'], 0, -3, 1)", "EPERM"),
        ("libc.syscall(425, 1, 0)", "EPERM"),
        ("libc.setns(0, 0)", "EPERM"),
    ],
)
def test_calls_by_which_programs_break_out_are_refused(
    run_python: RunPython, call: str, error: str
) -> None:
    code = f"""
        import ctypes, errno, platform
        x86 = platform.machine() == "x86_64"
        NR = {{"clone": 56 if x86 else 220, "keyctl": 250 if x86 else 219}}
        libc = ctypes.CDLL(None, use_errno=True)
        result = {call}
        print(result, errno.errorcode.get(ctypes.get_errno()))
    """
    printed, _ = run_python(code)
    assert printed == f"-1 {error}"


def test_devices_are_the_harmless_ones(run_python: RunPython) -> None:
    code = """
        import os
        print(*sorted(os.listdir("/dev")))
        try:
            os.mknod("disk", 0o60600, os.makedev(254, 0))
            print("MADE")
        except OSError:
            print("refused")
    """
    devices, refused = run_python(code)[0].split("\n")
    assert set(devices.split()) <= {
        *("core", "fd", "full", "null", "ptmx", "pts", "random", "shm"),
        *("stderr", "stdin", "stdout", "tty", "urandom", "zero", "console"),
    }
    assert refused == "refused"


def test_gpu_devices_are_there_only_when_asked_for(
    run_python: RunPython, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Devices of another name stand for NVIDIA's on a machine without.
    monkeypatch.setattr(view, "_GPU_DEVICES", ("/dev/kms?",))
    code = "import os; print(os.path.exists('/dev/kmsg'))"
    assert run_python(code)[0] == "False"
    assert run_python(code, gpu=True)[0] == "True"


def test_what_is_on_the_library_path_is_found(
    run_python: RunPython, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    libraries = tmp_path / "libraries"  # of this Python itself, perhaps
    libraries.mkdir()
    (libraries / "libmade_up.so").touch()
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{libraries}::relative:{tmp_path / 'missing'}")
    code = "import os; path = os.environ['LD_LIBRARY_PATH']; print(path, os.listdir(path))"
    assert run_python(code)[0] == f"{libraries} ['libmade_up.so']"


def test_links_in_the_work_folder_lead_nowhere(
    run_python: RunPython, work: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "gradebook.db").write_text("100 points")
    (victim / "gradebook.db").chmod(0o640)
    before = [path.stat() for path in (victim, victim / "gradebook.db")]
    code = """
        import os, sys
        os.symlink(sys.argv[1], "folder")
        os.symlink(sys.argv[1] + "/gradebook.db", "model.onnx")
        os.symlink("/etc/shadow", "model.engine")
        for name in ("folder/gradebook.db", "model.onnx", "model.engine"):
            try:
                print("OPENED", open(name, "r+").read())
            except FileNotFoundError:
                print("nothing there")
        for name in ("/etc/alternatives", "/etc/ld.so.cache", "/usr/bin/env", sys.executable):
            try:
                os.link(name, "hard", follow_symlinks=False)
                print("LINKED", name)
            except OSError:
                print("refused")
    """
    printed, _ = run_python(code, victim)
    assert "OPENED" not in printed
    assert "LINKED" not in printed
    for path, status in zip((victim, victim / "gradebook.db"), before, strict=True):
        now = path.stat()
        assert (now.st_uid, now.st_gid, now.st_mode) == (
            status.st_uid,
            status.st_gid,
            status.st_mode,
        )
    for name in ("model.onnx", "model.engine"):
        with pytest.raises(ExchangeError):
            read_bytes(work / name, 1000)
