"""Mutants of lab 6; its tasks are graded by hand, and these are what the pre-checks must see."""

from mutants import Mutant

SPEEDUPS_FROM_MEDIANS = """    for runner in results.runners:
        for entry in runner.batches:
            base = results.runner(results.settings.baseline).at(entry.batch_size)
            if runner.kind == "tensorrt":
                by_batch = report["speedup"].setdefault(runner.name, {})
                by_batch[entry.batch_size] = base.latency.median_ms / entry.latency.median_ms
    return report
"""

SHRINK = {
    'FileLink(write_html(results, "report.html"))': '"report.html"',
    "show_roofline(artifact(": "print(artifact(",
}

MUTANTS = [
    Mutant(
        name="leaves out a section",
        task="6.1",
        old='report["memory"][runner.name] = runner.gpu_memory_mib',
        new='report.pop("memory", None)',
        lost={"6.1": 0.75},
    ),
    Mutant(
        name="reports sizes in MB",
        task="6.1",
        old="size / 2**20 if size else None",
        new="size / 1e6 if size else None",
        lost={"6.1": 0.25},
        misconception="size-unit",
    ),
    Mutant(
        name="reports calls for images",
        task="6.1",
        old="entry.batch_size: entry.throughput.images_per_s for entry",
        new="entry.batch_size: entry.throughput.images_per_s / entry.batch_size for entry",
        lost={"6.1": 0.25},
        misconception="report-in-calls",
    ),
    Mutant(
        name="reports a relative loss of accuracy",
        task="6.1",
        old='"change": change.points if change else None,',
        new='"change": 100 * change.points / results.runners[0].accuracy.top1 if change else None,',
        lost={"6.1": 0.25},
        misconception="percent-for-points",
    ),
    Mutant(
        name="reports memory that nobody measured as zero",
        task="6.1",
        old='report["memory"][runner.name] = runner.gpu_memory_mib',
        new='report["memory"][runner.name] = runner.gpu_memory_mib or 0',
        lost={"6.1": 0.25},
        misconception="missing-as-zero",
    ),
    Mutant(
        name="divides emulated times",
        task="6.1",
        old="            by_batch[entry.batch_size] = entry.speedup.speedup\n    return report\n",
        new="            by_batch[entry.batch_size] = entry.speedup.speedup\n"
        + SPEEDUPS_FROM_MEDIANS.replace('"tensorrt":', '"tensorrt" and results.emulated:'),
        lost={"6.1": 0.25},
        misconception="emulated-speedup",
    ),
    Mutant(
        name="divides medians though speed-ups were measured",
        task="6.1",
        old="            by_batch[entry.batch_size] = entry.speedup.speedup\n    return report\n",
        new="            by_batch[entry.batch_size] = 0\n"
        + SPEEDUPS_FROM_MEDIANS.replace('"tensorrt":', '"tensorrt" and not results.emulated:'),
        lost={"6.1": 0.25},
        misconception="ratio-of-medians",
    ),
    Mutant(
        name="turns the speed-up upside down",
        task="6.1",
        old="by_batch[entry.batch_size] = entry.speedup.speedup",
        new="by_batch[entry.batch_size] = 1 / entry.speedup.speedup",
        lost={"6.1": 0.25},
        misconception="speedup-upside-down",
    ),
    Mutant(
        name="mixes the baselines",
        task="6.1",
        old="""        if entry.baseline == results.settings.baseline:
            by_batch""",
        new="""        if entry.baseline:
            by_batch""",
        lost={"6.1": 0.25},
    ),
    Mutant(
        name="types the report in",
        task="6.1",
        old="""    names = ("model_sizes",""",
        new="""    results = globals()["results"]
    names = ("model_sizes",""",
        lost={"6.1": None},
        misconception="typed-in-figures",
    ),
    Mutant(
        name="draws the mean",
        task="6.1",
        old="axes.barh(row, latency.median_ms,",
        new="latency = latency.model_copy(update={'median_ms': latency.mean_ms})\n"
        "        axes.barh(row, latency.median_ms,",
        lost={"6.1": 0.5},
        misconception="mean-drawn",
    ),
    Mutant(
        name="leaves the unit off an axis",
        task="6.1",
        old='axes.set_ylabel("throughput (images/s)")',
        new='axes.set_ylabel("throughput")',
        lost={"6.1": 0.5},
        misconception="axis-without-unit",
    ),
    Mutant(
        name="forgets the legend",
        task="6.1",
        old="""    axes.set_ylabel("throughput (images/s)")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))""",
        new="""    axes.set_ylabel("throughput (images/s)")""",
        lost={"6.1": 0.5},
        misconception="nameless-series",
    ),
    Mutant(
        name="draws bars of emulated times",
        task="6.1",
        old="""        figure.set_figheight(1.4)
        axes.axis("off")
        axes.text(0.5, 0.5, "not measured: emulated", ha="center", transform=axes.transAxes)
        return figure""",
        new="""        base = results.runner(baseline).batches[0].latency.median_ms
        for runner in results.runners:
            axes.bar(runner.name, base / runner.batches[0].latency.median_ms)
        return figure""",
        lost={"6.1": 0.5},
        misconception="emulated-speedup",
    ),
    Mutant(
        name="draws accuracy against the wrong thing",
        task="6.1",
        old="            x = speedup.speedup\n",
        new="            x = runner.at(batch).latency.median_ms\n",
        lost={"6.1": 0.5},
    ),
    Mutant(
        name="drops the badge",
        task="6.1",
        old="    if results.badge:\n",
        new="    if False:\n",
        lost={"6.1": 0.25},
        misconception="badge-dropped",
    ),
    Mutant(
        name="returns no figure",
        task="6.1",
        old="""    axes.set_xlabel(f"latency (ms per call, {results.settings.stopwatch})")
    return figure""",
        new="""    axes.set_xlabel(f"latency (ms per call, {results.settings.stopwatch})")""",
        lost={"6.1": None},
    ),
    Mutant(
        name="deletes a docstring",
        task="6.1",
        old='''    """Draw images per second against the batch size, one line for each runner."""
''',
        new="",
        lost={"6.1": 0.25},
    ),
    Mutant(
        name="holds the middle against the budget",
        task="6.2",
        old="The promise is about 99 of 100 calls, so the p99 has to stay below 5 ms, host to "
        "host, copies included. On the H200 every engine does: FP16 takes 0.883 ms in the median "
        "with copies and 0.93 ms in the p99, and for the promise to break that would have to be "
        "five times as long, which happens only if the GPU is shared or the clocks fall. I rule "
        "out PyTorch: its median in strict FP32 just stays below 5 ms, its p99 of 7.5 ms does not.",
        new="The median has to stay below 5 ms, host to host, copies included. On the H200 every "
        "engine does: FP16 takes 0.883 ms with copies, and to break it would have to be five times "
        "that, which happens only if the GPU is shared or the clocks fall. PyTorch just does, too.",
        lost={"6.2": 0.5},
        misconception="budget-by-mean",
    ),
    Mutant(
        name="gives the accuracy without its uncertainty",
        task="6.2",
        old="change 0.00 points, 95 % interval -1.48 to +1.48), and INT8 changed one, for the "
        "worse (top-1 96.88 %, -0.39 points, interval -2.18 to +1.09). One image is no evidence of "
        "a loss, and none of its absence either: the interval reaches below -1, so the verdict is "
        "inconclusive, and it would take some thousands of images to settle.",
        new="change 0.00 points), and INT8 loses 0.39 points, well below one.",
        lost={"6.2": None},
        misconception="point-estimate",
    ),
    Mutant(
        name="answers one question under no heading",
        task="6.2",
        old="### Bottleneck\n",
        new="",
        lost={"6.2": 0.5},
    ),
    Mutant(
        name="does not say where the figures come from",
        task="6.2",
        old="the slim ResNet-50 on the CPU emulation, 256 validation images. Its times are "
        "emulated and decide nothing; where I speak of speed, I use the H200 measurement above and "
        "say so.*",
        new="a ResNet-50.*",
        lost={"6.2": None},
        misconception="numbers-without-origin",
    ),
]
