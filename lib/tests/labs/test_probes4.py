"""Lab 4's probes, with their three steps apart: good classes and bad ones."""

import json
import os

import numpy as np
import pytest

from labs import lab4_scenes
from labs.lab4_scenes import (
    ANOTHER_SEED,
    SEED,
    TASKS,
    Reference,
    evidence_on,
    points,
    scene_after,
)
from trtlab.checks.registry import judge
from trtlab.infer import TensorRTInference
from trtlab.lab.bench import LocalBench
from trtlab.lab.probe import evidence_of, probe_of
from trtlab.lab.subjects import COURSE, OTHER

small_course_engine = lab4_scenes.small_course_engine  # a fixture, for all tests here


class TestApart:
    @pytest.mark.parametrize("task", TASKS)
    def test_the_reference_earns_everything(self, task, tmp_path):
        assert points(task, scene_after(task, Reference, tmp_path)) == TASKS[task]

    @pytest.mark.parametrize("task", TASKS)
    def test_evidence_is_plain_data(self, task, tmp_path):
        evidence = evidence_on(task, Reference, tmp_path)
        json.dumps(evidence.model_dump(mode="json"), allow_nan=False)

    @pytest.mark.parametrize("task", TASKS)
    def test_a_seed_gives_the_same_images_and_another_gives_others(self, task, tmp_path):
        given = []
        for name, seed in (("one", SEED), ("again", SEED), ("other", ANOTHER_SEED)):
            (tmp_path / name).mkdir()
            probe_of(task).give(tmp_path / name, seed)
            files = sorted((tmp_path / name).glob("*.npy"))
            given.append({file.name: file.read_bytes() for file in files})
        assert given[0] == given[1]
        assert given[0]
        assert not any(given[2].get(name) == data for name, data in given[0].items())

    @pytest.mark.parametrize("task", TASKS)
    def test_nothing_is_given_but_engines_and_images(self, task, tmp_path):
        probe_of(task).give(tmp_path, SEED)
        for path in tmp_path.iterdir():
            assert path.suffix in (".engine", ".npy")
            if path.suffix == ".npy":
                assert np.load(path).ndim == 4

    def test_other_seeds_make_other_engines(self):
        models = [OTHER.images(seed, [2])[0].shape for seed in range(4)]
        assert len(set(models)) > 1

    def test_images_of_a_batch_give_logits_that_can_be_told_apart(self):
        (images,) = OTHER.images(SEED, [6])
        logits = OTHER.logits(SEED, images, LocalBench())
        gaps = [np.abs(a - b).max() for i, a in enumerate(logits) for b in logits[:i]]
        assert min(gaps) > 1e-2 * np.abs(logits).max()

    def test_images_of_the_courses_engine_are_the_models(self):
        (images,) = COURSE.images(SEED, [2])
        assert (images.shape, images.dtype) == ((2, 3, 224, 224), np.float32)


class TestClasses:
    @pytest.mark.parametrize("found", [None, "no class", TensorRTInference])
    @pytest.mark.parametrize("task", TASKS)
    def test_what_is_no_class_of_the_students_is_missing(self, task, found, tmp_path):
        assert evidence_on(task, found, tmp_path).attempt.stage == "missing"

    @pytest.mark.parametrize("task", ["4.1", "4.2"])
    def test_a_class_that_is_not_written_says_so(self, task, tmp_path):
        class Unwritten:
            def __init__(self, engine_path):
                raise NotImplementedError

        class HalfWritten:
            def __init__(self, engine_path):
                pass

            def infer(self, images):
                raise NotImplementedError

        for student, what in (
            (Unwritten, "TensorRTInference"),
            (HalfWritten, "TensorRTInference.infer"),
        ):
            attempt = evidence_on(task, student, tmp_path / what).attempt
            assert (attempt.stage, attempt.what) == ("not started", what)

    @pytest.mark.parametrize(
        "result",
        [
            None,
            [[0.0]],
            "logits",
            np.array(["a"]),
            np.array([None]),
            np.zeros((4, 1), int),
            np.zeros((2, 2), bool),
            np.zeros(()),
            np.zeros((1000, 1000), np.float32),
        ],
        ids=lambda result: f"{type(result).__name__}-{getattr(result, 'dtype', '')}",
    )
    def test_any_result_is_judged_and_none_breaks_the_check(self, result, tmp_path):
        class Odd(Reference):
            def infer(self, x):
                super().infer(x)
                return result

        assert points("4.1", scene_after("4.1", Odd, tmp_path / "1")) <= 1.5
        assert points("4.2", scene_after("4.2", Odd, tmp_path / "2")) == 2 - 0.75

    @pytest.mark.parametrize("error", [SystemExit(1), GeneratorExit(), ValueError("no")])
    @pytest.mark.parametrize("method", ["__init__", "infer", "close", "__enter__"])
    def test_whatever_a_class_raises_every_probe_comes_to_its_end(self, method, error, tmp_path):
        def fail(*_args):
            raise error

        student = type("Failing", (Reference,), {method: fail, "__del__": lambda self: None})
        for task, most in TASKS.items():
            scene = scene_after(task, student, tmp_path / task)
            affected = method in ("__init__", "infer") or task == "4.3"
            lost = most - points(task, scene)
            assert lost > 0 if affected and (method, task) != ("infer", "4.3") else lost == 0

    @pytest.mark.parametrize("task", TASKS)
    def test_a_class_without_methods_is_judged(self, task, tmp_path):
        class Bare:
            def __init__(self, engine_path):
                pass

        assert points(task, scene_after(task, Bare, tmp_path)) == 0

    def test_a_class_that_does_nothing_gives_no_memory_back(self, tmp_path):
        class Idle:
            def __init__(self, engine_path):
                pass

            def infer(self, x):
                return np.zeros((len(x), 10), np.float32)

            def close(self):
                pass

        assert points("4.3", scene_after("4.3", Idle, tmp_path)) == 0.25

    def test_a_failure_that_leaves_the_last_logits_is_not_taken_for_a_conversion(self, tmp_path):
        class Stale(Reference):
            def infer(self, x):
                if x.dtype == np.float32 and x.flags.c_contiguous:
                    self.last = super().infer(x)
                return self.last.copy()

        evidence = evidence_on("4.1", Stale, tmp_path)
        assert set(evidence.layouts.values()) == {"different"}
        assert len(evidence.layouts) == 3

    def test_a_wrong_answer_in_any_call_costs_the_points(self, tmp_path):
        class Forgetful(Reference):
            calls = 0

            def infer(self, x):
                self.calls += 1
                return super().infer(x) * (1 if self.calls < 3 else 1.01)

        verdict = judge("4.1", evidence_on("4.1", Forgetful, tmp_path))
        assert verdict.findings[0].points == 0
        assert "batch 3" in verdict.findings[0].measured

    def test_batches_outside_both_profiles_are_tried(self, tmp_path):
        evidence = evidence_on("4.2", Reference, tmp_path)
        assert [(outside.batch, outside.profile) for outside in evidence.outside] == [
            (33, (1, 32)),
            (1, (2, 6)),
        ]

    def test_a_leak_is_seen(self, tmp_path):
        class Leaky(Reference):
            def close(self):
                pass

        scene = scene_after("4.3", Leaky, tmp_path)
        evidence = evidence_of("4.3", scene)
        assert evidence.kept_bytes == evidence.taken_bytes > 0
        assert evidence.alive == ("ICudaEngine", "IExecutionContext")
        assert points("4.3", scene) == 0.25

    def test_a_class_without_with_is_told_so(self, tmp_path):
        class Bare:
            def __init__(self, engine_path):
                self.model = Reference(engine_path)
                self.infer, self.close = self.model.infer, self.model.close

        scene = scene_after("4.3", Bare, tmp_path)
        assert evidence_of("4.3", scene).with_error
        assert points("4.3", scene) == 0.75

    @pytest.mark.parametrize("task", TASKS)
    def test_what_the_probes_provoke_is_not_printed(self, task, tmp_path, capfd):
        class Loud(Reference):
            def infer(self, x):
                print("a line")
                os.write(2, b"a line of a C++ library\n")
                return super().infer(x)

        scene_after(task, Loud, tmp_path)
        assert capfd.readouterr() == ("", "")
