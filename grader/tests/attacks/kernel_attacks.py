"""Attacks on the process that the notebook runs in: it is the student's, and decides nothing."""

from attacks.table import ATTACKS_CHECKS, REACHES, Attack

_AST = """\
import ast

class StripAsserts(ast.NodeTransformer):
    def visit_Assert(self, node):
        return None

shell = get_ipython()
shell.ast_transformers.append(StripAsserts())
shell.display_formatter.formatters["text/plain"].for_type(float, lambda *_: "4.0")
shell.events.register("post_run_cell", lambda *_: print("4.0"))
"""
_REPLACE_RUN_PROBE = """\
import trtlab.lab.probe as probe
from trtlab.checks.evidence import Attempt

def run_probe(task, names, given, made):
    made.mkdir(exist_ok=True)
    kind = probe.probe_of(task).observed
    done = kind(attempt=Attempt(stage="done", what="fine"))
    (made / probe.OBSERVED).write_text(done.model_dump_json())

probe.run_probe = run_probe
"""
_FAKE_MODULE = """\
import sys
import types

fake = types.ModuleType("trtlab.lab.probe")
fake.run_probe = lambda *_: None
sys.modules["trtlab.lab.probe"] = fake
"""
_WRITE_MODEL = """\
import trtlab.lab.exchange as exchange
import trtlab.lab.probe

def write_model(path, model):
    text = model.model_dump_json().replace("not started", "done")
    path.write_text(text)

exchange.write_model = trtlab.lab.probe.write_model = write_model
"""
_PATCH_CHECKS = """\
import trtlab.lab.session as session
import trtlab.checks.registry as registry
from trtlab.thresholds import THRESHOLDS

registry.judge = session.judge = lambda *_: None
session.check = lambda task: 4.0
vars(type(THRESHOLDS))
"""
_BUILTINS = """\
import builtins

class Quiet(BaseException):
    pass

builtins.NotImplementedError = Quiet
builtins.sum = lambda *_: 100
"""
_GLOBALS = """\
check.__globals__["judge"] = lambda *_: None
check.__globals__["run_probe"] = lambda *_: None
"""
_HIDDEN_IMPORT = """\
from importlib import import_module

module = import_module("trtlab.lab." + "pro" + "be")
setattr(module, "run_" + "probe", lambda *_: None)
"""
_IN_MAGIC = """\
%%time
import trtlab.lab.probe
trtlab.lab.probe.run_probe = lambda *_: None
"""
_WRITER_THREAD = """\
import json
import threading
import time
from pathlib import Path

made = Path.cwd().parents[1] / "made"
call = {"kind": "float32 array", "rows_run": [1], "streams": [7]}
done = {"stage": "done", "what": "TensorRTInference"}
answers = {
    "4.1": {"attempt": done, "course": [call] * 4, "layouts": [call] * 3, "other": call},
    "4.2": {"attempt": done, "calls": [call] * 4, "too_large": "ValueError: too large"},
    "4.3": {"attempt": done, "taken_bytes": 1000, "with_gives_object": True,
            "with_passes_errors_on": True},
}

def write():
    while True:
        for task, answer in answers.items():
            try:
                (made / task).mkdir(exist_ok=True)
                (made / task / "observed.json").write_text(json.dumps(answer))
            except OSError:
                pass
        time.sleep(0.01)

threading.Thread(target=write, daemon=True).start()
"""
_AT_EXIT = """\
import atexit
import sys
from pathlib import Path

atexit.register(lambda: Path("resnet50_simplified.onnx").write_bytes(b"better"))
sys.exit(0)
"""
_SEARCH = """\
import gc
import inspect
import os
import sys

found = [type(o).__name__ for o in gc.get_objects() if type(o).__name__ in ("Scene", "Course")]
frame = sys._getframe()
while frame is not None:
    found += [name for name in frame.f_locals if "seed" in name or "expected" in name]
    frame = frame.f_back
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        found += [w for w in open(f"/proc/{pid}/environ").read().split(chr(0)) if "SECRET" in w]
    except OSError:
        pass
print("FOUND", found)
"""
_KNOWN_SEED = """\
import numpy as np
import torch

real = np.random.default_rng
np.random.default_rng = lambda *_: real(0)
np.random.seed(0)
torch.manual_seed(0)
torch.randn = lambda *shape, **_: torch.zeros(*shape)
"""
_EVENTS = """\
import statistics
from trtlab.backend import cuda

cuda.Event.elapsed_time = lambda *_: 1e-6
cuda.Event.time_till = lambda *_: 1e-6
statistics.median = statistics.mean = lambda *_: 1e-6
"""

ATTACKS = (
    Attack(
        name="strips asserts from cells and formats every float as full marks",
        row="kernel",
        lab="01-export",
        unwritten=True,
        before=_AST,
        human=REACHES,
        quick=True,
    ),
    Attack(
        name="puts its own run_probe into the probes' module",
        row="machinery",
        lab="04-infer",
        unwritten=True,
        before=_REPLACE_RUN_PROBE,
        attack=ATTACKS_CHECKS,
        human=REACHES,
        quick=True,
    ),
    Attack(
        name="puts a module of its own in place of the probes'",
        row="machinery",
        lab="01-export",
        before=_FAKE_MODULE,
        points={"1.1": 0, "1.2": 0},
        human=REACHES | {"unusable-answer"},
    ),
    Attack(
        name="rewrites what the probes write",
        row="machinery",
        lab="01-export",
        unwritten=True,
        before=_WRITE_MODEL,
        attack=ATTACKS_CHECKS,
        human=REACHES,
    ),
    Attack(
        name="replaces check and the judging functions",
        row="machinery",
        lab="01-export",
        unwritten=True,
        before=_PATCH_CHECKS,
        attack=ATTACKS_CHECKS,
        human=REACHES,
    ),
    Attack(
        name="replaces built-in functions and NotImplementedError",
        row="machinery",
        lab="01-export",
        unwritten=True,
        before=_BUILTINS,
        human=REACHES,
    ),
    Attack(
        name="gets at the checks' globals through a function",
        row="machinery",
        lab="04-infer",
        unwritten=True,
        after=_GLOBALS,
        human=REACHES,
    ),
    Attack(
        name="patches a module whose name it puts together",
        row="machinery",
        lab="04-infer",
        unwritten=True,
        before=_HIDDEN_IMPORT,
        human=REACHES,
    ),
    Attack(
        name="hides what it patches in a cell of magic",
        row="kernel",
        lab="04-infer",
        unwritten=True,
        before=_IN_MAGIC,
        attack=ATTACKS_CHECKS,
        human=REACHES,
    ),
    Attack(
        name="writes the probes' answers from a thread that outlives its cell",
        row="answers",
        lab="04-infer",
        unwritten=True,
        before=_WRITER_THREAD,
        attack=ATTACKS_CHECKS,
        human=REACHES,
        quick=True,
    ),
    Attack(
        name="leaves the process, and rewrites a deliverable when it ends",
        row="machinery",
        lab="01-export",
        after=_AT_EXIT,
        human=REACHES,
    ),
    Attack(
        name="looks for expected values in objects, frames and environments",
        row="expected",
        lab="01-export",
        unwritten=True,
        before=_SEARCH,
        human=REACHES,
        quick=True,
    ),
    Attack(
        name="seeds every generator with a known number",
        row="seed",
        lab="01-export",
        before=_KNOWN_SEED,
        human=REACHES,
    ),
    Attack(
        name="patches CUDA's events and the statistics",
        row="timers",
        lab="04-infer",
        before=_EVENTS,
        human=REACHES,
    ),
)
