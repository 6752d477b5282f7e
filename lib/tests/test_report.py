import io
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from sample_results import sample_results
from trtlab.backend import BADGE
from trtlab.errors import OutputError
from trtlab.plot_style import NOT_MEASURED
from trtlab.report import (
    html_report,
    machine_table,
    markdown_report,
    markdown_table,
    method,
    model_table,
    print_report,
    speed_table,
    tables,
    targets_table,
    write_html,
)

HOSTILE = "<script>alert(1)</script>|[red]$x$"


def printed(results, width=200):
    console = Console(width=width, record=True, file=io.StringIO())
    print_report(results, console)
    return console.export_text()


@pytest.fixture(scope="module")
def html():
    """The page of a run on a GPU; drawing it takes a second."""
    return html_report(sample_results())


class Page(HTMLParser):
    """Collects tags, and the text that a reader sees in tables and headings."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, data):
        self.words.append(data)


def test_the_speed_table_has_a_row_per_runner_and_batch():
    table = speed_table(sample_results())
    assert len(table.rows) == 5 * 3
    assert all(len(row) == len(table.columns) for row in table.rows)
    row = next(row for row in table.rows if row[:2] == ("tensorrt-fp16", "32"))
    assert row[2:5] == ("2.78", "3.20", "11,511")
    assert row[5].startswith("3.74x [")
    assert row[6].startswith("2.23x [")


def test_pytorch_has_no_speedup_over_itself():
    rows = [row for row in speed_table(sample_results()).rows if row[0].startswith("pytorch")]
    assert {cell for row in rows for cell in row[5:]} == {"–"}


def test_emulated_speedups_read_not_measured():
    rows = speed_table(sample_results(emulated=True)).rows
    assert {row[5] for row in rows if row[0].startswith("tensorrt")} == {NOT_MEASURED}


def test_the_model_table_shows_the_change_with_its_interval():
    row = model_table(sample_results()).rows[-1]
    assert row == (
        "tensorrt-int8",
        "96.22",
        "-0.78 [-0.87, -0.68]",
        "99.80",
        "24.9",
        "142",
        "38.0",
    )


def test_the_targets_table_shows_what_is_required_and_what_was_measured():
    rows = targets_table(sample_results()).rows
    assert (
        "tensorrt-int8",
        "accuracy loss",
        "pytorch-fp32",
        "≤ 1",
        "0.78 [0.68, 0.87]",
        "pass",
        "",
    ) in rows
    size = next(row for row in rows if row[1] == "size reduction")
    assert size[3:6] == ("≥ 1.9x", "2.11x", "pass")


def test_the_machine_table_has_gpu_versions_and_a_dash_for_what_is_unknown():
    facts = dict(machine_table(sample_results()).rows)
    assert facts["GPU"] == "NVIDIA H200"
    assert facts["SM clock, of maximum"] == "1980 of 1980 MHz"
    assert facts["tensorrt"] == "8.6.0"
    assert facts["pycuda"] == "–"
    assert facts["TF32 in PyTorch by default"] == "convolutions on, matrix products off"
    assert dict(machine_table(sample_results(emulated=True)).rows)["GPU"] == "none"


def test_every_table_of_an_emulated_run_carries_the_badge():
    assert {table.caption for table in tables(sample_results(emulated=True))} == {BADGE}
    assert all("Emulated" not in table.caption for table in tables(sample_results()))


def test_unfinished_results_have_tables_with_gaps():
    results = sample_results()
    results.complete, results.comparisons, results.targets = False, [], []
    for runner in results.runners:
        runner.accuracy = runner.accuracy_change = runner.gpu_memory_mib = None
    assert set(model_table(results).rows[-1][1:4]) == {"–"}
    assert "interrupted" in method(results)[-1]
    assert "Speed" in printed(results)
    assert "Targets" not in printed(results)


def test_the_method_says_what_is_inside_the_stopwatch_and_how_often_it_ran():
    text = "\n".join(method(sample_results()))
    for piece in ("host to host", "20 warm-up", "200 timed", "100 pairs", "4,000 images", "TF32"):
        assert piece in text
    assert "CUDA events and the wall clock differ by +1.0%" in text


def test_the_method_of_an_emulated_run_claims_no_pairs():
    text = "\n".join(method(sample_results(emulated=True)))
    assert f"Speed-up: {NOT_MEASURED}" in text
    assert "pairs" not in text


def test_the_terminal_shows_the_tables_and_takes_brackets_for_text():
    results = sample_results()
    results.runners[1].name = "[red]strict[/red]"
    text = printed(results)
    assert "[red]strict[/red]" in text
    assert "3.74x [3.63, 3.85]" in text
    assert "inconclusive" in text


def test_the_terminal_of_an_emulated_run_shows_the_badge_under_every_table():
    assert printed(sample_results(emulated=True)).count(BADGE) == 3


def test_a_narrow_terminal_goes_without_some_columns_but_breaks_no_word():
    text = printed(sample_results(), width=80)
    assert max(map(len, text.splitlines())) <= 80
    for word in ("tensorrt-int8", "pytorch-tf32", "Required", "inconclusive", "reduction"):
        assert word in text
    assert "Why" not in text
    assert "Why" in printed(sample_results(), width=120)


def test_markdown_tables_have_one_width_and_escape_bars():
    results = sample_results()
    results.runners[0].name = "a|b"
    lines = markdown_table(speed_table(results)).split("\n")
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + 15
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {8}
    assert "a\\|b" in rows[2]


def test_the_markdown_report_holds_all_tables_the_method_and_the_badge():
    text = markdown_report(sample_results(emulated=True))
    for heading in ("Speed", "Accuracy and size", "Targets", "Machine", "How it was measured"):
        assert f"## {heading}\n" in text
    assert f"> **{BADGE}**" in text


def test_the_page_refers_to_nothing_outside_itself(html):
    page = Page(html)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    for name, value in page.attributes:
        if name in ("href", "src", "xlink:href"):
            assert value.startswith("#")
    assert "url(http" not in html
    assert page.tags.count("svg") == 5


def test_the_page_shows_the_same_cells_as_the_tables(html):
    words = set(Page(html).words)
    for table in tables(sample_results()):
        for row in table.rows:
            assert {cell for cell in row if cell} <= words


def test_every_id_on_the_page_is_unique(html):
    ids = [value for name, value in Page(html).attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_an_emulated_page_carries_the_badge_at_its_head_and_under_every_table():
    words = Page(html_report(sample_results(emulated=True))).words
    assert words.count(BADGE) == 1 + 4
    assert NOT_MEASURED in words


def test_names_cannot_inject_markup_into_the_page():
    results = sample_results()
    results.runners[0].name = results.workload.model = HOSTILE
    html = html_report(results)
    assert "script" not in Page(html).tags
    assert HOSTILE in Page(html).words


def test_the_page_is_written_in_one_step(tmp_path):
    path = write_html(sample_results(emulated=True), tmp_path / "out" / "report.html")
    assert path.read_text().startswith("<!doctype html>")
    assert list(path.parent.iterdir()) == [path]


def test_a_page_that_cannot_be_written_is_an_output_error(tmp_path, monkeypatch):
    monkeypatch.setattr("trtlab.report.html_report", lambda results: "page")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        write_html(sample_results(), tmp_path / "file" / "sub" / "report.html")
