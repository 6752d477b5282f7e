"""What a student's kernel may see of what the course provides."""

from pathlib import Path

import nbformat
import pytest

from trtlab.lab.artifacts import MADE_IN, provided_folder
from trtlab.workloads import load_workload
from trtlab_grader.course import LABS
from trtlab_grader.provisions import _NEEDED, visible

SOLUTIONS = Path(__file__).parents[2] / "solutions"


@pytest.mark.usefixtures("provisions")
@pytest.mark.parametrize("lab", range(1, 7))
def test_a_kernel_sees_nothing_that_its_own_lab_makes(lab: int) -> None:
    own = {name for name, made_in in MADE_IN.items() if made_in == LABS[lab - 1]}
    assert not {path.name for path in visible(lab)} & own


@pytest.mark.usefixtures("provisions")
def test_a_kernel_sees_what_its_lab_starts_from() -> None:
    names = {path.name for path in visible(2)}
    assert names >= {"resnet50_simplified.onnx", "resnet50_fp32.engine"}
    assert all(path.is_relative_to(provided_folder()) for path in visible(2))


def test_a_kernel_sees_weights_that_were_trained_on_the_spot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRTLAB_CACHE", str(tmp_path))
    weights = tmp_path / load_workload().name
    assert visible(1) == []
    weights.mkdir()
    assert visible(1) == [weights]


@pytest.mark.parametrize("lab", range(1, 7))
def test_all_that_a_notebook_asks_for_is_provided_before_it_runs(lab: int) -> None:
    name = LABS[lab - 1]
    notebook = nbformat.read(SOLUTIONS / name / f"{name}.ipynb", as_version=4)
    source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    asked = {text for text in MADE_IN if f'artifact("{text}")' in source}
    assert asked <= set(_NEEDED[lab])
    assert asked or lab == 1
