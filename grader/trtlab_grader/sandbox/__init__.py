"""Runs hostile programs: confined by bubblewrap, held to limits, ended whole, spoken to safely.

    job = Job([sys.executable, "-I", "-m", "trtlab.lab.bench_server"], work)
    with Bubblewrap().start(job, talk=True) as process:
        answer = Conversation(process).ask({"do": "inspect"}, timeout_s=60)

`Bubblewrap` says what it guarantees and what not; `Unconfined` is what `--no-sandbox` means.
"""

from typing import Protocol

from trtlab_grader.sandbox.bubblewrap import Bubblewrap
from trtlab_grader.sandbox.errors import SandboxError, SandboxMissing
from trtlab_grader.sandbox.limits import GIB, MIB, Limits, Reason, Stop
from trtlab_grader.sandbox.process import Job, SandboxedProcess
from trtlab_grader.sandbox.talk import Conversation
from trtlab_grader.sandbox.unconfined import Unconfined

__all__ = [
    "GIB",
    "MIB",
    "Bubblewrap",
    "Conversation",
    "Job",
    "Limits",
    "Reason",
    "Sandbox",
    "SandboxError",
    "SandboxMissing",
    "SandboxedProcess",
    "Stop",
    "Unconfined",
]


class Sandbox(Protocol):
    """What starts jobs."""

    @property
    def facts(self) -> dict[str, str]:
        """What a record says of how a submission was run."""

    def start(self, job: Job, talk: bool = False) -> SandboxedProcess:
        """Start a job; with `talk`, its stdin and stdout are pipes. Raises: SandboxError."""
