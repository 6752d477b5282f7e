"""Runs a job without a sandbox, for `--no-sandbox`: the same interface, and almost no protection.

The job is the grader's own user. It reads and writes what that user may, has the
network, and can end or mislead the grader. Its environment inherits nothing, and the limits of
Limits are watched or set, so that an honest mistake does no harm; a process that leaves its parents
between two looks of the watchdog gets away, and `scratch_bytes` is not enforced. Every record says
that it was made like this.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from trtlab_grader.sandbox import view
from trtlab_grader.sandbox.process import Job, SandboxedProcess, Spawn

# Sets limits and becomes the job. Not a preexec_fn: that is unsafe in a process with threads.
_LIMITER = """
import ctypes, json, os, resource, sys
grader, limits, *command = sys.argv[1:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL: die with the grader
if os.getppid() != int(grader):  # it died before that
    sys.exit(1)
for name, value in json.loads(limits).items():
    kind = getattr(resource, name)
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))
os.execvp(command[0], command)
"""


class Unconfined:
    """What runs jobs where the instructor said `--no-sandbox`."""

    @property
    def facts(self) -> dict[str, str]:
        """What a record says of how a submission was run."""
        return {"sandbox": "none", "user": "the grader's own", "seccomp": "no"}

    def start(self, job: Job, talk: bool = False) -> SandboxedProcess:
        """Start a job; with `talk`, its stdin and stdout are pipes.

        Raises:
            SandboxError: if it cannot be started.
        """
        scratch = Path(tempfile.mkdtemp(prefix="trtlab-scratch-"))
        home = scratch / "home"
        home.mkdir()
        limits = {
            "RLIMIT_FSIZE": job.limits.file_bytes,
            "RLIMIT_NOFILE": job.limits.open_files,
            "RLIMIT_CPU": int(job.limits.wall_s * (os.cpu_count() or 1)) + 1,
            "RLIMIT_CORE": 0,
        }
        spawn = Spawn(
            command=[
                *[sys.executable, "-I", "-c", _LIMITER, str(os.getpid()), json.dumps(limits)],
                *job.command,
            ],
            environment=view.environment(os.fspath(home)) | dict(job.environment),
            descriptors=[],
            find_root=lambda pid: pid,
            clean_up=lambda: shutil.rmtree(scratch, ignore_errors=True),
        )
        return SandboxedProcess(job, spawn, talk)
