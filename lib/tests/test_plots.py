import re
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure
from PIL import Image

from sample_results import sample_results
from trtlab import plots
from trtlab.backend import BADGE
from trtlab.plot_style import NOT_MEASURED, compact, look_of
from trtlab.plots import FIGURES, draw, inline_svg, save_figures


def texts(figure: Figure) -> str:
    """All text of a figure, one piece per line."""
    return "\n".join(found.get_text() for found in figure.findobj(lambda a: hasattr(a, "get_text")))


@pytest.mark.parametrize("name", FIGURES)
def test_an_emulated_figure_carries_the_badge_and_a_real_one_does_not(name):
    assert BADGE in texts(draw(name, sample_results(emulated=True)))
    assert "Emulated" not in texts(draw(name, sample_results()))


@pytest.mark.parametrize("name", FIGURES)
def test_every_axis_of_data_has_a_label(name):
    figure = draw(name, sample_results())
    for axes in figure.axes:
        assert axes.get_xlabel() or axes.get_ylabel()


def test_an_emulated_speedup_is_a_sentence_and_no_bar():
    figure = draw("speedup", sample_results(emulated=True))
    assert NOT_MEASURED in texts(figure)
    assert not any(len(axes.patches) or len(axes.lines) for axes in figure.axes)


def test_no_emulated_figure_states_a_factor():
    for name in FIGURES:
        assert not re.search(r"\d+\.\d+x", texts(draw(name, sample_results(emulated=True))))


def test_speedup_bars_are_the_measured_ratios_for_each_baseline():
    results = sample_results()
    strict, tf32 = draw("speedup", results).axes
    for axes, baseline in ((strict, "pytorch-fp32"), (tf32, "pytorch-tf32")):
        assert axes.get_title(loc="left") == f"over {baseline}"
        drawn = sorted(bar.get_height() for bar in axes.patches if bar.get_height())
        measured = [c.speedup.speedup for c in results.comparisons if c.baseline == baseline]
        assert drawn == pytest.approx(sorted(measured))
    assert "6.21x" in texts(strict.figure)


def test_latency_bars_are_the_medians_of_each_batch():
    results = sample_results()
    axes = draw("latency", results).axes
    assert [found.get_title(loc="left") for found in axes] == ["batch 1", "batch 8", "batch 32"]
    for panel, batch in zip(axes, (1, 8, 32), strict=True):
        medians = [runner.at(batch).latency.median_ms for runner in results.runners]
        assert [bar.get_width() for bar in panel.patches] == medians


def test_throughput_lines_hold_every_batch_and_are_named_with_their_last_value():
    results = sample_results()
    figure = draw("throughput", results)
    lines = figure.axes[0].lines
    assert len(lines) == len(results.runners)
    for line, runner in zip(lines, results.runners, strict=True):
        assert list(line.get_xdata()) == [1, 8, 32]
        assert f"{runner.name}  {compact(line.get_ydata()[-1])}" in texts(figure)


def test_sizes_are_the_engine_or_the_weights_in_mib():
    sizes, memory = draw("size_and_memory", sample_results()).axes
    assert sizes.patches[0].get_width() == pytest.approx(102_230_000 / 2**20)
    assert sizes.patches[-1].get_width() == pytest.approx(26_100_000 / 2**20)
    assert [bar.get_width() for bar in memory.patches] == [612, 598, 271, 190, 142]


def test_the_pass_region_is_bounded_by_both_targets():
    figure = draw("accuracy_latency", sample_results())
    regions = {patch.get_label(): patch for patch in figure.axes[0].patches}
    assert regions["FP16 target"].get_width() == pytest.approx(2.61 / 2)
    assert regions["FP16 target"].get_y() == -0.1
    assert regions["INT8 target"].get_width() == pytest.approx(2.61 / 4)
    assert regions["INT8 target"].get_y() == -1.0


def test_on_the_emulation_the_pass_region_bounds_the_loss_alone():
    axes = draw("accuracy_latency", sample_results(emulated=True)).axes[0]
    regions = {patch.get_label(): patch for patch in axes.patches}
    assert set(regions) == {"FP16 target (loss only)", "INT8 target (loss only)"}
    assert {patch.get_width() for patch in axes.patches} == {axes.get_xlim()[1]}


def test_runners_differ_in_marker_or_hatch_and_not_in_colour_alone():
    runners = [runner for runner in sample_results().runners if runner.kind == "tensorrt"]
    looks = [look_of(runner) for runner in runners]
    assert len({(look.marker, look.hatch) for look in looks}) == len(looks)
    assert look_of(sample_results().runner("tensorrt-fp16")).colour == "#76B900"


@pytest.mark.parametrize("name", FIGURES)
def test_unfinished_and_foreign_results_are_drawn_all_the_same(name):
    results = sample_results()
    results.comparisons = []
    results.runners[0].batches = []
    results.runners[-1].precision = "unknown"
    results.runners[-1].accuracy = results.runners[-1].accuracy_change = None
    draw(name, results)
    for runner in results.runners:
        runner.batches, runner.accuracy, runner.accuracy_change = [], None, None
    assert re.search(r"was (timed|measured)|not measured|GPU memory", texts(draw(name, results)))


def test_every_figure_is_saved_as_png_and_svg(tmp_path):
    written = save_figures(sample_results(), tmp_path / "plots")
    assert {path.name for path in written} == {
        f"{name}.{suffix}" for name in FIGURES for suffix in ("png", "svg")
    }
    assert sorted(written) == sorted((tmp_path / "plots").iterdir())
    for path in written:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert min(image.size) > 300
        else:
            assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_the_same_results_give_the_same_svg():
    assert inline_svg("latency", sample_results()) == inline_svg("latency", sample_results())


def test_a_name_with_markup_is_drawn_as_it_is():
    results = sample_results()
    results.runners[-1].name = "<script>alert(1)</script> $a_b$ & co --"
    svg = inline_svg("latency", results)
    assert "<script" not in svg
    ElementTree.fromstring(svg)
    assert results.runners[-1].name in texts(draw("latency", results))


def test_ids_of_two_inlined_figures_do_not_meet():
    def ids(name):
        svg = inline_svg(name, sample_results())
        found = set(re.findall(r'\bid="([^"]+)"', svg))
        assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= found
        assert set(re.findall(r'href="#([^"]+)"', svg)) <= found
        return found

    assert ids("latency").isdisjoint(ids("throughput"))


def test_labels_are_pushed_apart_in_order():
    spread = plots._spread([5.0, 1.0, 1.2, 5.1], gap=1.0)
    assert spread == pytest.approx([5.0, 1.0, 2.0, 6.0])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.3807, "0.381"), (2.914, "2.91"), (17.66, "17.7"), (77_900.4, "77,900"), (0, "0.000")],
)
def test_numbers_have_three_digits(value, text):
    assert compact(value) == text
