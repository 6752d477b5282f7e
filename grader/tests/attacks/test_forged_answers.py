"""How much there is to gain by answering for the probes, in the best way that the checks allow.

What a function asked for, and how it ended, is only seen in its own process: docs/grading.md.
These tests hold what that is worth. Where nothing was written at all it is worth nothing, which
test_attacks.py shows; here every function is there, and does nothing.
"""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from nbformat.v4 import new_code_cell

from attacks.table import ATTACKS_CHECKS, REACHES, UNWRITTEN, judged
from classroom import codes, grade, solved, submit
from trtlab.backend import IS_EMULATED
from trtlab_grader.course import Course

_DONE = {"stage": "done", "what": "forged"}
_RAISED = {"stage": "raised", "what": "forged", "error": "RuntimeError: no"}
_CALL = {"kind": "float32 array", "rows_run": [1], "rows_allocated": 32, "streams": [77]}
_COPY = {"function": "memcpy_htod_async", "dtype": "float32", "pinned": True, "stream": 77}


def _calls(*batches: int) -> list[dict[str, Any]]:
    return [_CALL | {"rows_run": [n], "copies_in": [_COPY], "copies_out": [_COPY]} for n in batches]


def _build(**asked: Any) -> dict[str, Any]:
    return {"attempt": _DONE, "returned": "nothing", "path_used": True, "asked": asked}


_ASKED = {"parsed": True, "built": True, "flags": ["FP16"], "workspace_bytes": 2 << 30, "layers": 9}
_PLAN = {"what": "a plan", "sha256": "0" * 64}

ANSWERS: Mapping[str, Mapping[str, Any]] = {
    "01-export": {
        "1.1": {"attempt": _DONE},
        "1.2": {"attempt": _DONE, "attempts": "by graph"},
    },
    "02-build": {
        "2.1": {
            "attempt": _DONE,
            "returned": _PLAN,
            "builds": [_build(**_ASKED), _build(parsed=False), _build(**_ASKED)],
        },
        "2.2": {"attempt": _DONE, "returned": _PLAN, "builds": [_build(**_ASKED)]},
        "2.3": {"attempt": _DONE},
        "2.4": {"attempt": _DONE},
    },
    "03-calibrate": {
        "3.1": {"attempt": _DONE, "lengths": [40, 16, 16]},
        "3.2": {
            "attempt": _DONE,
            "reported": "4",
            "ends": True,
            "stays_ended": True,
            "buffers": 1,
            "images_shown": 8,
            "absent_cache": "None",
            "after_error": "raised",
        },
        "3.3": {
            "attempt": _DONE,
            "observed": True,
            "fp16": True,
            "calibration_batch": 32,
            "batch_size": 32,
            "images_shown": 500,
        },
        "3.4": {"attempt": _DONE},
        "3.5": {"attempt": _DONE},
    },
    "04-infer": {
        "4.1": {
            "attempt": _DONE,
            "course": _calls(8, 3, 3, 3),
            "layouts": _calls(8, 3, 3),
            "other": _calls(4)[0],
            "refused_enqueue": "raised",
        },
        "4.2": {
            "attempt": _DONE,
            "calls": _calls(1, 5, 32, 2),
            "too_large": "ValueError: no",
            "too_small": "ValueError: no",
        },
        "4.3": {
            "attempt": _DONE,
            "taken_bytes": 1 << 20,
            "with_gives_object": True,
            "with_passes_errors_on": True,
        },
    },
    "05-benchmark": {
        "5.1": {"attempt": _DONE, "tries": []},
        "5.2": {"attempt": _DONE, "runs": []},
        "5.3": {
            "attempt": _DONE,
            "square": {"attempt": _DONE, "reported": [50.0, 90.0]},
            "uneven": {"attempt": _DONE, "reported": [50.0, 90.0]},
        },
        "5.4": {"attempt": _DONE, "reply": {"attempt": _DONE, "reported": [50.0, 90.0]}},
        "5.5": {"attempt": _DONE, "reply": {"attempt": _DONE, "reported": [50.0, 90.0]}},
    },
}
"""What the probes of a lab are said to have seen, without a file beside it."""

GAINED: Mapping[str, Mapping[str, float]] = {
    "01-export": {"1.1": 0, "1.2": 1},
    "02-build": {"2.1": 1.5, "2.2": 0, "2.3": 0, "2.4": 0},
    "03-calibrate": {"3.1": 0, "3.2": 0, "3.3": 1.5, "3.4": 0, "3.5": 0},
    "04-infer": {"4.1": 0, "4.2": 1.25, "4.3": 1},
    "05-benchmark": {"5.1": 0, "5.2": 0, "5.3": 0.3, "5.4": 0, "5.5": 0},
}
"""What that earns, of 7, 25, 27, 7 and 19 points."""

_FORGE = """\
import json
import onnx
import trtlab.lab.probe as probe

answers = json.loads({answers!r})

def verdict_on(path):
    ops = [node.op_type for node in onnx.load(path).graph.node]
    refused = "Dropout" in ops or len(ops) == 2
    return {raised!r} if refused else {done!r}

def forged(task, names, given, made):
    made.mkdir(exist_ok=True)
    answer = dict(answers[task])
    if answer.get("attempts") == "by graph":
        answer["attempts"] = [verdict_on(given / f"{{i}}.onnx") for i in range(3)]
    (made / probe.OBSERVED).write_text(json.dumps(answer))

probe.run_probe = forged
"""
_STUBS = """\
from trtlab.lab.artifacts import reference_model
export_model = simplify_model = build_engine_fp16 = build_engine_dynamic = build_engine_int8 = print
CalibrationDataset = Int8EntropyCalibrator = TensorRTInference = print
benchmark_latency = benchmark_throughput = evaluate_accuracy = print
"""


@pytest.mark.attacks
@pytest.mark.usefixtures("needs_sandbox")
@pytest.mark.skipif(not IS_EMULATED, reason="the points are those on the emulation")
@pytest.mark.parametrize("lab", ANSWERS)
def test_forged_answers_earn_little_and_are_flagged(classroom: Course, lab: str) -> None:
    forge = _FORGE.format(answers=json.dumps(ANSWERS[lab]), raised=_RAISED, done=_DONE)
    notebook = solved(classroom, lab, unwritten=UNWRITTEN[lab], extra=forge)
    kept = ("setup", "extra")
    notebook.cells = [
        cell
        for cell in notebook.cells
        if cell.id in kept or cell.metadata.get("nbgrader", {}).get("grade_id")
    ]
    notebook.cells.append(new_code_cell(_STUBS, id="stubs"))
    submit(classroom, "mallory", lab, notebook)
    record = grade(classroom, "mallory", lab)
    assert judged(record) == GAINED[lab]
    assert codes(record, "attack") == ATTACKS_CHECKS
    assert codes(record, "human") >= REACHES
