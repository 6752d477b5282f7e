"""Where one lab is graded: its kernels and its bench, each in a sandbox, and the GPU's leases."""

import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from nbformat import NotebookNode

from trtlab.backend import IS_EMULATED
from trtlab_grader.bench import SandboxedBench, server_command
from trtlab_grader.course import Settings
from trtlab_grader.dispatch import visible_gpus
from trtlab_grader.kernel import SandboxedKernel
from trtlab_grader.lease import Kind, OnWait, lease
from trtlab_grader.running import StudentKernel
from trtlab_grader.sandbox import GIB, MIB, Job, Limits, Sandbox, SandboxedProcess
from trtlab_grader.workspace import Workspace

_PASSED_ON = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "TRTLAB_BACKEND", "CUDA_MODULE_LOADING")


@dataclass(frozen=True)
class Stage:
    """Starts what a lab is graded in.

    Attributes:
        sandbox: where students' code and files are run.
        settings: the course's limits.
        provided: the folder of what the course provides; see provisions.py.
        visible: what a student's kernel sees of it.
        on_wait: told of waiting for the GPU.
    """

    sandbox: Sandbox
    settings: Settings
    provided: Path
    visible: Sequence[Path]
    on_wait: OnWait = lambda waits: None

    def kernel(
        self, space: Workspace, notebook: NotebookNode, timing_cache: Path | None
    ) -> StudentKernel:
        """Return the kernel of a student's notebook, not started yet."""

        def start() -> SandboxedKernel:
            space.renew(notebook)
            return SandboxedKernel(
                self.sandbox,
                space.work,
                self._limits(),
                readonly=[space.labs, space.given, *self.visible],
                writable=[space.made],
                environment=self._environment(),
                gpu=torch.cuda.is_available(),
            )

        return StudentKernel(
            start,
            notebook,
            self.settings.cell_seconds,
            self.settings.notebook_seconds,
            timing_cache,
            self.shared,
        )

    def bench(self, space: Workspace) -> SandboxedBench:
        """Return a bench for a student's files, not started yet."""

        def start(given: Path, made: Path) -> SandboxedProcess:
            job = Job(
                command=server_command(sys.executable),
                work=made,
                limits=self._limits(),
                readonly=[given, space.evidence, space.given, self.provided],
                environment=self._environment(),
                gpu=torch.cuda.is_available(),
            )
            return self.sandbox.start(job, talk=True)

        return SandboxedBench(start, self.settings.cell_seconds, self.shared, self.exclusive)

    def shared(self) -> AbstractContextManager[object]:
        """Return a lease of this process's GPU for work that may go on beside other work."""
        return gpu_lease("shared", self.on_wait)

    def exclusive(self) -> AbstractContextManager[object]:
        """Return a lease of this process's GPU for work that is timed."""
        return gpu_lease("exclusive", self.on_wait)

    def _limits(self) -> Limits:
        settings = self.settings
        return Limits(
            memory_bytes=int(settings.memory_gib * GIB),
            processes=settings.processes,
            file_bytes=settings.file_mib * MIB,
            disk_bytes=settings.disk_mib * MIB,
            wall_s=settings.notebook_seconds,
        )

    def _environment(self) -> dict[str, str]:
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        return {"TRTLAB_CACHE": str(self.provided), **passed_on}


def gpu_lease(kind: Kind, on_wait: OnWait = lambda waits: None) -> AbstractContextManager[object]:
    """Return a lease of this process's GPU; of nothing where TensorRT is emulated."""
    if IS_EMULATED:
        return nullcontext()
    gpus = visible_gpus()
    return lease(gpus[0].uuid if gpus else "gpu", kind, on_wait=on_wait)
