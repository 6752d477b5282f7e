"""Attacks on the machine: processes, disk, time and output."""

from attacks.table import REACHES, Attack

_STOPPED = REACHES | {"notebook-stopped"}
_FORKS = """\
import os
import signal

try:
    while True:
        if os.fork() == 0:
            signal.pause()
except OSError as error:
    print("no more", error)
"""
_DISK = """\
written = 0
with open("filler", "wb") as file:
    while True:
        written += file.write(bytes(1 << 20))
"""
_STUBBORN = """\
while True:
    try:
        while True:
            pass
    except KeyboardInterrupt:
        pass
"""

ATTACKS = (
    Attack(
        name="forks until nothing is left",
        row="limits",
        lab="04-infer",
        unwritten=True,
        after=_FORKS,
        settings={"processes": 60},
        human=REACHES,
    ),
    Attack(
        name="fills the disk",
        row="limits",
        lab="04-infer",
        unwritten=True,
        before=_DISK,
        settings={"disk_mib": 100},
        human=frozenset({"notebook-stopped"}),
    ),
    Attack(
        name="loops for ever in a cell",
        row="limits",
        lab="04-infer",
        unwritten=True,
        after="while True:\n    pass\n",
        settings={"cell_seconds": 15},
        human=frozenset({"cell-interrupted"}),
    ),
    Attack(
        name="loops for ever and does not mind interrupts",
        row="limits",
        lab="04-infer",
        unwritten=True,
        after=_STUBBORN,
        settings={"cell_seconds": 15},
        human=frozenset({"notebook-stopped"}),
    ),
    Attack(
        name="ends the process in a cell",
        row="limits",
        lab="01-export",
        after="import os\nos._exit(0)\n",
        human=_STOPPED,
    ),
    Attack(
        name="ends the process in every probe",
        row="limits",
        lab="04-infer",
        after="import os\nTensorRTInference.infer = lambda *_: os._exit(0)\n",
        points={"4.1": 0, "4.2": 0, "4.3": 0},
        human=REACHES,
    ),
    Attack(
        name="prints without end",
        row="limits",
        lab="04-infer",
        unwritten=True,
        after="for _ in range(30):\n    print('x' * (1 << 20))\n",
        quick=True,
    ),
)
