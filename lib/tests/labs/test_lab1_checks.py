"""Lab 1's checks on made-up evidence."""

from typing import Any

import pytest

from trtlab.checks.evidence import Attempt
from trtlab.checks.evidence1 import (
    Agreement,
    ExportEvidence,
    GraphFacts,
    ProbeFacts,
    Refusal,
    SimplifyEvidence,
)
from trtlab.checks.registry import judge
from trtlab.checks.verdict import Finding, Verdict

DONE = Attempt(stage="done", what="export_model")
AGREES = Agreement(differences={1: 1e-6, 2: 2e-6})
IMAGES = ["batch", 3, 224, 224]


def graph(**changes: Any) -> GraphFacts:
    facts: dict[str, Any] = {
        "opset": 17,
        "inputs": {"input": IMAGES},
        "outputs": {"output": ["batch", 10]},
        "ops": {"Conv": 53, "Relu": 49},
        "weights": 1000,
    }
    return GraphFacts(**{**facts, **changes})


def probe(**changes: Any) -> ProbeFacts:
    facts = {"attempt": DONE, "graph": graph(opset=15), "agreement": AGREES}
    return ProbeFacts(**{**facts, **changes})


def exported(**changes: Any) -> Verdict:
    evidence: dict[str, Any] = {
        "attempt": DONE,
        "graph": graph(),
        "agreement": AGREES,
        "probe": probe(),
        "asked_opset": 15,
        "asked_shape": (3, 224, 224),
    }
    return judge("1.1", ExportEvidence(**{**evidence, **changes}))


def simplified(**changes: Any) -> Verdict:
    evidence: dict[str, Any] = {
        "attempt": DONE,
        "before": graph(),
        "after": graph(),
        "agreement": AGREES,
        "given": graph(ops={"Conv": 1, "Constant": 3}),
        "probe": probe(graph=graph(ops={"Conv": 1})),
        "random": Refusal(error="RuntimeError: differs", wrote=False),
        "contradictory": Refusal(error="InferenceError: 3 vs 7", wrote=False),
    }
    return judge("1.2", SimplifyEvidence(**{**evidence, **changes}))


def lost(verdict: Verdict) -> list[Finding]:
    return [finding for finding in verdict.findings if finding.state != "pass"]


# Task 1.1


def test_a_right_export_earns_everything() -> None:
    assert exported().points == 4


@pytest.mark.parametrize(
    ("change", "points", "misconception"),
    [
        ({"weights": 0}, 0.5, "weights-left-out"),
        ({"inputs": {"input": IMAGES, "fc.weight": [10, 64]}}, 0.5, "weights-left-out"),
        ({"inputs": {"images": IMAGES}}, 0.5, "other-tensor-names"),
        ({"outputs": {"495": ["batch", 10]}}, 0.5, "other-tensor-names"),
        ({"opset": 18}, 0.5, "opset-too-new"),
        ({"inputs": {"input": [1, 3, 224, 224]}}, 1, "batch-frozen-at-export"),
        ({"outputs": {"output": [2, 10]}}, 1, "batch-frozen-at-export"),
        ({"inputs": {"input": ["batch", 3, "h", "w"]}}, 1, "every-axis-dynamic"),
        ({"ops": {"Conv": 53, "BatchNormalization": 53}}, 0.5, "folding-off"),
        ({"training_nodes": 53}, 0.5, "exported-in-training-mode"),
    ],
)
def test_a_fault_of_the_file_costs_its_points_and_has_a_name(
    change: dict[str, Any], points: float, misconception: str
) -> None:
    verdict = exported(graph=graph(**change))
    assert verdict.points == 4 - points
    assert verdict.misconceptions == (misconception,)
    assert all(finding.next_step for finding in lost(verdict))


def test_older_opsets_pass() -> None:
    assert exported(graph=graph(opset=13)).points == 4


def test_a_batch_that_does_not_run_is_not_dynamic() -> None:
    agreement = Agreement(differences={2: 1e-6}, failures={1: "cannot be reshaped"})
    verdict = exported(agreement=agreement)
    assert verdict.misconceptions == ("batch-relabelled",)
    (finding,) = lost(verdict)
    assert finding.max_points == 1
    assert "batch 1: cannot be reshaped" in finding.measured


def test_a_frozen_batch_is_not_charged_twice() -> None:
    frozen = {"input": [2, 3, 224, 224]}
    agreement = Agreement(differences={2: 1e-6}, failures={1: "invalid dimensions"})
    verdict = exported(
        graph=graph(inputs=frozen),
        agreement=agreement,
        probe=probe(graph=graph(opset=15, inputs=frozen), agreement=agreement),
    )
    assert [finding.misconception for finding in lost(verdict)] == ["batch-frozen-at-export"]


@pytest.mark.parametrize(
    ("agreement", "holds"),
    [
        (Agreement(differences={1: 9e-5}), True),
        (Agreement(differences={1: 1e-6, 2: 2e-4}), False),
        (Agreement(wrong={1: "the output holds NaN or Inf"}), False),
        (Agreement(differences={1: 1e-6}, wrong={2: "the output holds NaN or Inf"}), False),
        (Agreement(), False),
    ],
)
def test_outputs_count_if_something_ran_and_agrees(agreement: Agreement, holds: bool) -> None:
    assert (exported(agreement=agreement).points == 4) is holds


def test_outputs_in_training_mode_are_put_down_to_it() -> None:
    verdict = exported(
        graph=graph(training_nodes=53), agreement=Agreement(differences={1: 0.9, 2: 0.9})
    )
    assert verdict.points == 3
    assert verdict.misconceptions == ("exported-in-training-mode",)


@pytest.mark.parametrize(
    ("change", "misconception"),
    [
        ({"graph": GraphFacts(problem="no file")}, "arguments-ignored"),
        ({"graph": graph()}, "arguments-ignored"),  # opset 17, not the 15 asked for
        ({"graph": graph(opset=15, inputs={"input": ["batch", 3, 9, 9]})}, "arguments-ignored"),
        ({"agreement": Agreement(differences={1: 0.3})}, "arguments-ignored"),
        ({"graph": graph(opset=15, training_nodes=1)}, "exported-in-training-mode"),
        (
            {"agreement": Agreement(differences={2: 1e-6}, failures={1: "reshape"})},
            "batch-relabelled",
        ),
        ({"attempt": Attempt(stage="raised", what="f", error="TypeError: opset")}, None),
    ],
)
def test_a_function_that_only_fits_the_notebook_loses_half_a_point(
    change: dict[str, Any], misconception: str | None
) -> None:
    verdict = exported(probe=probe(**change))
    assert verdict.points == 3.5
    assert [finding.misconception for finding in lost(verdict)] == [misconception]


def test_without_a_file_the_function_still_earns_its_part() -> None:
    verdict = exported(graph=GraphFacts(problem="There is no ONNX file resnet50.onnx."))
    assert verdict.points == 0.5
    assert "There is no ONNX file" in lost(verdict)[0].measured


# Task 1.2


def test_a_right_simplification_earns_everything() -> None:
    assert simplified().points == 3


FROZEN = {"input": [1, 3, 224, 224]}


@pytest.mark.parametrize(
    ("change", "misconception"),
    [
        ({"probe": probe(graph=graph(ops={"Conv": 1}, inputs=FROZEN))}, "batch-frozen-by-onnxsim"),
        ({"after": graph(inputs=FROZEN)}, "batch-frozen-by-onnxsim"),
        ({"probe": probe(graph=graph(ops={"Conv": 1, "Constant": 3}))}, "unsimplified-saved"),
        ({"after": graph(ops={"Conv": 53, "Relu": 50})}, "unsimplified-saved"),
        ({"probe": probe(graph=GraphFacts(problem="no file"))}, "arguments-ignored"),
        ({"random": Refusal(error="", wrote=True)}, "validation-flag"),
        ({"random": Refusal(error="RuntimeError: differs", wrote=True)}, "validation-flag"),
        ({"contradictory": Refusal(error="", wrote=True)}, "checker-skipped"),
        ({"agreement": Agreement(differences={1: 1.0})}, None),
    ],
)
def test_a_fault_in_simplifying_costs_half_a_point(
    change: dict[str, Any], misconception: str | None
) -> None:
    verdict = simplified(**change)
    assert verdict.points == 2.5
    assert [finding.misconception for finding in lost(verdict)] == [misconception]
    assert lost(verdict)[0].next_step


def test_a_batch_that_was_frozen_before_is_not_held_against_simplifying() -> None:
    assert simplified(before=graph(inputs=FROZEN), after=graph(inputs=FROZEN)).points == 3


def test_a_missing_file_costs_what_is_read_off_it() -> None:
    problem = "There is no ONNX file resnet50_simplified.onnx."
    verdict = simplified(
        after=GraphFacts(problem=problem), agreement=Agreement(failures={1: problem})
    )
    assert verdict.points == 2
