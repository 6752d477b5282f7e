"""What a confined process may use, and the reasons for which it is stopped."""

from dataclasses import dataclass
from typing import Literal

GIB = 1 << 30
MIB = 1 << 20

Reason = Literal["memory", "processes", "disk", "wall time", "output", "ended by the grader"]


@dataclass(frozen=True)
class Stop:
    """Why a process was killed: the limit that it broke, and the figures."""

    reason: Reason
    detail: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclass(frozen=True)
class Limits:
    """The most that one process and all its descendants may use.

    Attributes:
        memory_bytes: memory of all processes together; pages that they share count once. Files in
            the private /tmp and /dev/shm are memory too, and come on top: see `scratch_bytes`.
        processes: processes and threads at a time. torch and its libraries start some per core.
        file_bytes: size of any one file.
        disk_bytes: size of the writable folders together; a small file counts as one block.
        scratch_bytes: size of the private /tmp, which holds the home, and of /dev/shm, each.
        wall_s: seconds from the start to the end, or those in which it was asked for something; see
            SandboxedProcess.at_work.
        output_bytes: bytes that the process may send to the grader in all.
        open_files: file descriptors of one process.
    """

    memory_bytes: int = 6 * GIB
    processes: int = 512
    file_bytes: int = 2 * GIB
    disk_bytes: int = 4 * GIB
    scratch_bytes: int = 512 * MIB
    wall_s: float = 1800.0
    output_bytes: int = 512 * MIB
    open_files: int = 4096
