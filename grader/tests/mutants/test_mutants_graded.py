"""Each plausible wrong solution of the labs loses through the grader what its table says.

lib/tests/labs/test_mutants.py holds the same table against a run in one process. Here every mutant
is handed in and graded in the sandbox: 5 to 20 s each, so that they have a command of their own,
`make mutants`. One of them: `pytest -m mutants -k swaps-red-and-blue`.
"""

from pathlib import Path

import pytest

from graded_mutants import (
    Gradings,
    assert_it_loses_what_its_table_says,
    gradings_in,
    name_of,
)
from mutants import Mutant, labs_with_mutants, mutants_of
from trtlab.backend import IS_EMULATED
from trtlab.checks.tasks import TASKS

ALL = [mutant for lab in labs_with_mutants() for mutant in mutants_of(lab)]


@pytest.fixture(scope="module")
def gradings(
    classroom_template: Path,
    provisions: None,
    needs_sandbox: None,
    test_run_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Gradings:
    return gradings_in(classroom_template, tmp_path_factory.mktemp("mutants"), test_run_folder)


@pytest.mark.mutants
@pytest.mark.timeout(900)  # the first one waits for what the course provides, and for its reference
@pytest.mark.skipif(not IS_EMULATED, reason="the points in `lost` are those on the emulation")
@pytest.mark.parametrize("mutant", ALL, ids=name_of)
def test_a_mutant_loses_what_it_should_and_nothing_else(mutant: Mutant, gradings: Gradings) -> None:
    before = gradings.reference(TASKS[mutant.task].lab)
    assert_it_loses_what_its_table_says(mutant, before, gradings.mutant(mutant))
