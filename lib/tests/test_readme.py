"""What the README says is what happens: its commands run, its figures are those of the raw JSON."""

import re
import shlex
from pathlib import Path

import pytest

from cli_runner import trtlab
from trtlab.report import markdown_table, model_table, speed_table
from trtlab.results import read_results

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[list[str]]:
    """Return the arguments of every `trtlab` line of the README's shell blocks."""
    blocks = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("trtlab ")]


def test_the_commands_run_in_the_order_they_stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(commands()) >= 9
    for arguments in commands():
        outcome = trtlab(*arguments)
        assert outcome.status == 0, (arguments, outcome)
    assert len(list(Path("runs/plots").glob("*.svg"))) == 5
    assert Path("runs/plots/report.html").stat().st_size > 10_000
    assert '"top5"' in Path("runs/predictions.json").read_text()
    assert not list(Path().rglob("*.part*")), "temporary files were left"
    (python,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(python, found := {})
    assert found["logits"].shape == (8, 10)


def test_every_file_that_is_linked_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_the_figures_are_those_of_the_committed_measurement() -> None:
    (source, shown) = re.search(
        r"<!-- measured: (\S+) -->\n(.*?)<!-- /measured -->", README, flags=re.DOTALL
    ).groups()
    results = read_results(ROOT / source)
    assert not results.emulated
    assert (
        shown.strip()
        == "\n".join(
            markdown_table(table).strip() + "\n"
            for table in (speed_table(results), model_table(results))
        ).strip()
    )
