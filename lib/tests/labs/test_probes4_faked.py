"""Lab 4's probes on files that no run of the student's class has left: faked, spoiled, missing."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from labs import lab4_scenes
from labs.lab4_scenes import (
    ANOTHER_SEED,
    SEED,
    TASKS,
    Reference,
    points,
    scene_after,
)
from trtlab.checks.registry import judge
from trtlab.lab.bench import LocalBench
from trtlab.lab.exchange import ExchangeError
from trtlab.lab.probe import OBSERVED, Scene, evidence_of
from trtlab.lab.probes.lab4_calls import MAX_RESULT_BYTES

small_course_engine = lab4_scenes.small_course_engine  # a fixture, for all tests here


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
