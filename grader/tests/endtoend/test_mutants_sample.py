"""A few of the labs' mutants through the grader; all of them: `make mutants`."""

from pathlib import Path

import pytest

from graded_mutants import (
    Gradings,
    assert_it_loses_what_its_table_says,
    gradings_in,
    name_of,
)
from mutants import Mutant, mutants_of
from trtlab.backend import IS_EMULATED
from trtlab.checks.tasks import TASKS

NAMES = ("1-1-leaves-constant-folding-off", "2-1-forgets-the-FP16-flag")
SAMPLE = [mutant for lab in (1, 2) for mutant in mutants_of(lab) if name_of(mutant) in NAMES]


@pytest.fixture(scope="module")
def gradings(
    classroom_template: Path,
    provisions: None,
    needs_sandbox: None,
    test_run_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Gradings:
    return gradings_in(classroom_template, tmp_path_factory.mktemp("mutants"), test_run_folder)


@pytest.mark.skipif(not IS_EMULATED, reason="the points in `lost` are those on the emulation")
@pytest.mark.parametrize("mutant", SAMPLE, ids=name_of)
def test_a_mutant_loses_what_it_should_and_nothing_else(mutant: Mutant, gradings: Gradings) -> None:
    before = gradings.reference(TASKS[mutant.task].lab)
    assert_it_loses_what_its_table_says(mutant, before, gradings.mutant(mutant))


def test_the_sample_is_in_the_tables() -> None:
    assert [name_of(mutant) for mutant in SAMPLE] == list(NAMES)
