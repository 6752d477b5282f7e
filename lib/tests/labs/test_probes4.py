"""Lab 4's probes, with their three steps apart: good classes, bad classes, and faked answers."""

import json
import math
import os
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pytest

from labs.harness import solution_path
from trtlab.backend import cuda, trt
from trtlab.build import BuildSpec, build_engine
from trtlab.checks.registry import judge
from trtlab.infer import TensorRTInference
from trtlab.lab import subjects
from trtlab.lab.bench import LocalBench
from trtlab.lab.exchange import ExchangeError
from trtlab.lab.probe import OBSERVED, Scene, evidence_of, probe_of, run_probe
from trtlab.lab.probes.lab4_calls import MAX_RESULT_BYTES
from trtlab.lab.subjects import COURSE, OTHER

TASKS = {"4.1": 4, "4.2": 2, "4.3": 1}
SEED, ANOTHER_SEED = 11, 12


@pytest.fixture(scope="module", autouse=True)
def small_course_engine(small_onnx, tmp_path_factory):
    """A small engine in place of the provided ResNet-50: these tests run some dozens of calls."""
    engine = tmp_path_factory.mktemp("course") / "small.engine"
    build_engine(small_onnx, engine, BuildSpec(profiles=(COURSE.profile,)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subjects, "provided", {subjects.COURSE_ENGINE: engine}.__getitem__)
        yield


def reference_class():
    """Return what the solution notebook's cell defines, in names of its own."""
    notebook = nbformat.read(solution_path(4), as_version=4)
    (cell,) = (c for c in notebook.cells if c.source.startswith("class TensorRTInference"))
    names = {
        "math": math,
        "Path": Path,
        "np": np,
        "trt": trt,
        "cuda": cuda,
        "TRT_LOGGER": trt.Logger(trt.Logger.WARNING),
    }
    exec(cell.source, names)
    return names["TensorRTInference"]


Reference = reference_class()


def scene_after(task, student, folder, seed=SEED):
    """Give, run and hand back in folders of their own, as between a grader and a sandbox."""
    trusted, sandbox = folder / "trusted", folder / "sandbox"
    for path in (trusted / "given", sandbox / "made"):
        path.mkdir(parents=True)
    probe_of(task).give(trusted / "given", seed)
    shutil.copytree(trusted / "given", sandbox / "given")
    names = {"TensorRTInference": student}
    run_probe(task, names, sandbox / "given", sandbox / "made")
    shutil.copytree(sandbox / "made", trusted / "made")
    shutil.rmtree(sandbox)
    return Scene(trusted / "given", trusted / "made", seed, Path(), LocalBench())


def evidence_on(task, student, folder):
    return evidence_of(task, scene_after(task, student, folder))


def points(task, scene):
    return judge(task, evidence_of(task, scene)).points


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


def replace_array(path, array):
    np.save(path, array)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def inflate(path):
    path.write_bytes(path.read_bytes() + bytes(16 * MAX_RESULT_BYTES))


def pickle(path):
    np.save(path, np.array([{}]), allow_pickle=True)


def link(path):
    target = path.with_name("elsewhere.npy")
    path.rename(target)
    path.symlink_to(target)


def make_fifo(path):
    path.unlink()
    os.mkfifo(path)


def make_folder(path):
    path.unlink()
    path.mkdir()


FILES = {
    "4.1": [
        *(f"course-{index}.npy" for index in range(4)),
        *(f"layout-{index}.npy" for index in range(3)),
        "course-0-again.npy",
        "course-1-input.npy",
        "other-0.npy",
    ],
    "4.2": [f"course-{index}.npy" for index in range(4)],
}


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """The scenes that the reference leaves, by task and seed; copy before you touch one."""
    folder = tmp_path_factory.mktemp("honest")
    return {
        (task, seed): scene_after(task, Reference, folder / f"{task}-{seed}", seed)
        for task in TASKS
        for seed in (SEED, ANOTHER_SEED)
    }


@pytest.fixture
def copied(honest, tmp_path):
    """A function that returns a scene of its own, made by the reference."""

    def copy(task, made_from=SEED):
        folder = tmp_path / "made"
        shutil.copytree(honest[task, made_from].made, folder)
        return Scene(honest[task, SEED].given, folder, SEED, Path(), LocalBench())

    return copy


class TestFakedAnswers:
    @pytest.mark.parametrize(("task", "left"), [("4.1", 4 - 1.5 - 1), ("4.2", 2 - 0.75)])
    def test_answers_for_other_inputs_earn_nothing(self, copied, task, left):
        verdict = judge(task, evidence_of(task, copied(task, made_from=ANOTHER_SEED)))
        assert all(f.points == 0 for f in verdict.findings if f.criterion.startswith("logits"))
        assert verdict.points <= left

    @pytest.mark.parametrize(
        "fake",
        [
            lambda right: np.full_like(right, np.nan),
            lambda right: np.full_like(right, np.inf),
            lambda right: np.where(right == right.max(), np.nan, right).astype(np.float32),
            np.zeros_like,
            lambda right: right.astype(np.float64),
            lambda right: right.astype(">f4"),
            lambda right: right[:1],
            lambda right: right[None],
            lambda right: right.T,
            lambda right: np.float32(right.mean()),
            lambda right: right[:0],
            lambda right: np.full_like(right, np.finfo(np.float32).max),
        ],
    )
    @pytest.mark.parametrize(
        ("task", "file", "criterion"),
        [
            ("4.1", "course-0.npy", 0),
            ("4.1", "course-3.npy", 0),
            ("4.1", "other-0.npy", 1),
            ("4.2", "course-2.npy", 0),
        ],
    )
    def test_wrong_values_types_and_shapes_earn_nothing(self, copied, task, file, criterion, fake):
        scene = copied(task)
        replace_array(scene.made / file, fake(np.load(scene.made / file)))
        finding = judge(task, evidence_of(task, scene)).findings[criterion]
        assert (finding.state, finding.points) == ("fail", 0)

    def test_a_changed_result_and_a_changed_input_are_seen_from_the_files(self, copied):
        scene = copied("4.1")
        for name in ("course-0-again.npy", "course-1-input.npy", "layout-1.npy"):
            replace_array(scene.made / name, np.load(scene.made / name) + 1)
        evidence = evidence_of("4.1", scene)
        assert evidence.overwritten
        assert evidence.input_changed
        assert evidence.layouts == {
            "float64": "same",
            "Fortran order": "different",
            "transposed view": "same",
        }

    @pytest.mark.parametrize(("task", "file"), [(task, f) for task in FILES for f in FILES[task]])
    def test_a_missing_file_is_refused(self, copied, task, file):
        scene = copied(task)
        (scene.made / file).unlink()
        with pytest.raises(ExchangeError, match=file):
            evidence_of(task, scene)

    @pytest.mark.parametrize("file", ["course-1.npy", "course-1-input.npy"])
    @pytest.mark.parametrize("spoil", [truncate, inflate, pickle, link, make_fifo, make_folder])
    def test_a_spoiled_file_is_refused(self, copied, file, spoil):
        scene = copied("4.1")
        spoil(scene.made / file)
        with pytest.raises(ExchangeError, match=file):
            evidence_of("4.1", scene)

    @pytest.mark.parametrize(
        ("task", "changes"),
        [
            ("4.1", {"course": []}),
            ("4.1", {"course": [{}]}),
            ("4.1", {"layouts": []}),
            ("4.1", {"other": None}),
            ("4.1", {"refused_enqueue": "praised"}),
            ("4.2", {"calls": []}),
            ("4.2", {"calls": [{}] * 5}),
            ("4.2", {"calls": [{"difference": 0.0}] * 4}),
            ("4.3", {"taken_bytes": -1}),
            ("4.3", {"kept_bytes": -(10**9)}),
            ("4.3", {"points": 1}),
        ],
    )
    def test_observations_that_no_run_makes_are_refused(self, copied, task, changes):
        scene = copied(task)
        path = scene.made / OBSERVED
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
        with pytest.raises(ExchangeError):
            evidence_of(task, scene)

    @pytest.mark.parametrize("key", ["kind", "shape"])
    def test_what_was_saved_goes_before_what_was_said_of_it(self, copied, key):
        scene = copied("4.2")
        path = scene.made / OBSERVED
        observed = json.loads(path.read_text())
        observed["calls"][0][key] = {"kind": "a lie", "shape": [7, 7]}[key]
        path.write_text(json.dumps(observed))
        assert points("4.2", scene) == 2

    def test_a_result_said_not_to_be_saved_earns_nothing(self, copied):
        scene = copied("4.2")
        path = scene.made / OBSERVED
        observed = json.loads(path.read_text())
        for call in observed["calls"]:
            call["saved"] = False
        path.write_text(json.dumps(observed))
        assert points("4.2", scene) == 2 - 0.75
