"""Runs a job inside bubblewrap, so that it cannot reach, change or outlast anything of the host's.

What a job gets
- its own network (nothing but a loopback), processes, IPC and host name;
- a file system made of what it needs and nothing else, read-only: /usr, a few files of /etc, this
  Python and its environment, the library, and what the job names. Not the grader's package, homes,
  the course, other submissions, the gradebook, or sockets of the host's services;
- its own /tmp (with the home), /dev/shm, /dev and /proc, and its own folders to write to;
- an environment that inherits nothing; no standard privileges, no way to gain any (no_new_privs);
- its own user: if the grader is root, a user id that nothing else on the machine has, so that
  limits count for this job alone and no file of the host is its own. Otherwise a user namespace,
  in which it is still the grader's user to the kernel, but sees nothing of that user's;
- limits (see Limits), and death as a whole: with its first process, with the grader, or at a limit.

What it does not
- It is no virtual machine: the job talks to the host's kernel, and a hole in it is a hole here. A
  seccomp filter takes away the calls where most such holes were and which no lab needs.
- With `gpu`, it talks to NVIDIA's driver as well. GPU memory and time are not limited, and what
  other processes do on the same GPU can be guessed from timing.
- It can see the machine: processors, memory, load, versions, names of mounted folders.
- Limits on memory and disk are watched at intervals, see Watchdog. A file that is still mapped,
  after it was removed and closed, takes disk space that nobody counts.
- Covert channels between two jobs that run at a time (load, caches) stay open.
"""

import json
import os
import resource
import secrets
import shutil
import stat
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from trtlab_grader.sandbox import seccomp, view
from trtlab_grader.sandbox.errors import SandboxError, SandboxMissing
from trtlab_grader.sandbox.limits import Limits
from trtlab_grader.sandbox.ownership import hand_over, take_back
from trtlab_grader.sandbox.process import Job, SandboxedProcess, Spawn

# From here to the end of the 31-bit range no distribution hands out user ids: not to people, not to
# services, not to containers (systemd's table of user and group ids).
_FIRST_UID = 0x7000_0000
_UIDS = 0x0F00_0000
_HOME = "/tmp/home"
# The programs used, and Debian's packages of them.
_PACKAGES = {
    "bwrap": "bubblewrap",
    "choom": "util-linux",
    "prlimit": "util-linux",
    "setpriv": "util-linux",
}


class Bubblewrap:
    """The sandbox that grades are made in.

    Raises:
        SandboxMissing: if bubblewrap is not installed or does not work here.
    """

    def __init__(self) -> None:
        _require_working_bubblewrap()

    @property
    def facts(self) -> dict[str, str]:
        """What a record says of how a submission was run."""
        return {
            "sandbox": _version(),
            "user": "a user id of its own" if _is_root() else "a user namespace",
            "seccomp": "yes" if seccomp.is_supported() else "no: not for this processor",
        }

    def start(self, job: Job, talk: bool = False) -> SandboxedProcess:
        """Start a job; with `talk`, its stdin and stdout are pipes.

        Raises:
            SandboxError: if it cannot be started.
        """
        missing = [str(path) for path in job.readonly if not path.exists()]
        if missing:
            raise SandboxError(f"There is nothing to show the job at {', '.join(missing)}.")
        uid = _FIRST_UID + secrets.randbelow(_UIDS) if _is_root() else os.getuid()
        _give(job.writable_folders, uid)
        info, info_writer = os.pipe()
        inherited = {"--info-fd": info_writer}
        if seccomp.is_supported():
            inherited["--seccomp"] = _readable(seccomp.filter_program())
        made = {path: _readable(text.encode()) for path, text in _made_files(uid).items()}
        command = [
            *[_tool("bwrap"), *_namespaces()],
            *[word for flag, number in inherited.items() for word in (flag, str(number))],
            *[*_file_system(job, made), "--"],
            *_limited(job.limits),
            *(_dropped(uid) if _is_root() else []),
            *job.command,
        ]

        def clean_up() -> None:
            os.close(info)
            for folder in job.writable_folders:
                take_back(folder)

        spawn = Spawn(
            command=command,
            # bwrap's own environment can be read in the sandbox, at /proc/1, so it gets this too.
            environment=view.environment(_HOME) | dict(job.environment),
            descriptors=[*inherited.values(), *made.values()],
            find_root=lambda _: _read_root(info),
            clean_up=clean_up,
        )
        return SandboxedProcess(job, spawn, talk)


def _give(folders: Sequence[Path], uid: int) -> None:
    for folder in folders:
        if not stat.S_ISDIR(folder.lstat().st_mode if os.path.lexists(folder) else 0):
            raise SandboxError(f"{folder} is not a folder; make it before the job starts.")
        if _is_root():
            hand_over(folder, uid)


def _made_files(uid: int) -> dict[str, str]:
    return {
        "/etc/passwd": f"student:x:{uid}:{uid}::{_HOME}:/bin/sh\n",
        "/etc/group": f"student:x:{uid}:\n",
        "/etc/hosts": "127.0.0.1 localhost\n",
    }


def _namespaces() -> list[str]:
    flags = ["--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    flags += ["--unshare-cgroup-try", "--hostname", "sandbox", "--die-with-parent", "--new-session"]
    if not _is_root():
        flags += ["--unshare-user", "--disable-userns"]
    return flags


def _file_system(job: Job, made: dict[str, int]) -> list[str]:
    """Return bwrap's arguments for mounts; a later one covers an earlier one."""
    folders, links = view.system_paths()
    shown = view.python_folders() + (view.gpu_files() if job.gpu else [])
    shown += [os.path.abspath(path) for path in job.readonly]
    devices = view.gpu_devices() if job.gpu else []
    writable = [os.path.abspath(path) for path in job.writable_folders]

    arguments = ["--proc", "/proc", "--dev", "/dev"]
    for path in ("/tmp", "/dev/shm"):
        size = str(job.limits.scratch_bytes)
        arguments += ["--perms", "1777", "--size", size, "--tmpfs", path]
    arguments += ["--perms", "0777", "--dir", _HOME]
    for path in _parents([*folders, *shown, *devices, *writable]):
        # Made on the way to a mount, they would be root's alone.
        arguments += ["--perms", "0755", "--dir", path]
    for path, target in links.items():
        arguments += ["--symlink", target, path]
    for path in devices:
        arguments += ["--dev-bind", path, path]
    for path in [*folders, *shown]:
        arguments += ["--ro-bind", path, path]
    for path in view.hidden_folders(shown):
        arguments += ["--tmpfs", path, "--remount-ro", path]
    for path in writable:
        arguments += ["--bind", path, path]
    for path, descriptor in made.items():
        arguments += ["--perms", "0644", "--ro-bind-data", str(descriptor), path]
    # What bwrap makes for these two has no size limit.
    arguments += ["--remount-ro", "/dev", "--remount-ro", "/"]
    return [*arguments, "--chdir", os.path.abspath(job.work)]


def _parents(paths: Sequence[str]) -> list[str]:
    found = {os.fspath(parent) for path in paths for parent in Path(path).parents}
    return sorted(found - {"/", "/dev", "/tmp"})


def _limited(limits: Limits) -> list[str]:
    wanted = {
        # One more than allowed, so that the watchdog sees who wants more, and says why it ended.
        # bwrap's own first process counts as one, unless bwrap runs as root.
        "nproc": (resource.RLIMIT_NPROC, limits.processes + 1),
        "fsize": (resource.RLIMIT_FSIZE, limits.file_bytes),
        "nofile": (resource.RLIMIT_NOFILE, limits.open_files),
        "cpu": (resource.RLIMIT_CPU, int(limits.wall_s * (os.cpu_count() or 1)) + 1),
        "core": (resource.RLIMIT_CORE, 0),
    }
    flags = [f"--{name}={_within_hard_limit(*limit)}" for name, limit in wanted.items()]
    # If the machine runs out of memory all the same, these processes go first.
    return [_tool("choom"), "-n", "1000", "--", _tool("prlimit"), *flags, "--"]


def _within_hard_limit(kind: int, value: int) -> int:
    hard = resource.getrlimit(kind)[1]
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def _dropped(uid: int) -> list[str]:
    return [
        *[_tool("setpriv"), f"--reuid={uid}", f"--regid={uid}", "--clear-groups"],
        *["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--"],
    ]


def _readable(data: bytes) -> int:
    """Return a descriptor that `data` can be read from; less than a pipe holds, 64 KiB."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as file:
        file.write(data)
    return reader


def _read_root(info: int) -> int:
    """Return the pid, outside, of the first process inside."""
    text = b""
    while not text.rstrip().endswith(b"}"):
        part = os.read(info, 4096)
        if not part:
            raise SandboxError("bubblewrap ended before it started anything.")
        text += part
    return int(json.loads(text)["child-pid"])


def _is_root() -> bool:
    return os.geteuid() == 0


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise SandboxMissing(
            f"{name} is not installed: student code would run unconfined. "
            f"Install Debian's package {_PACKAGES[name]}: sudo apt-get install {_PACKAGES[name]}"
        )
    return path


@lru_cache
def _version() -> str:
    answer = subprocess.run([_tool("bwrap"), "--version"], capture_output=True, text=True)
    return answer.stdout.strip()


@lru_cache
def _require_working_bubblewrap() -> None:
    for name in _PACKAGES:
        _tool(name)
    trial = [_tool("bwrap"), *_namespaces(), "--ro-bind", "/", "/", "--proc", "/proc", "--", "true"]
    answer = subprocess.run(trial, capture_output=True, text=True)
    if answer.returncode != 0:
        raise SandboxMissing(
            f"bubblewrap is installed but may not make a sandbox here: {answer.stderr.strip()} "
            "In a container, allow user and mount namespaces (with Docker: --privileged, or "
            "--cap-add SYS_ADMIN and unconfined seccomp and AppArmor profiles); elsewhere, allow "
            "unprivileged user namespaces."
        )
