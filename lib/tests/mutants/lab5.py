"""Wrong solutions of lab 5."""

from mutants import Mutant

SHRINK = {
    "ITERATIONS, WARMUP, THROUGHPUT_SECONDS = 30, 5, 0.1": (
        "ITERATIONS, WARMUP, THROUGHPUT_SECONDS = 3, 1, 0.02"
    ),
    "EVALUATION_IMAGES = 160 ": "EVALUATION_IMAGES = 16 ",
    "VALIDATION_IMAGES = 500 ": "VALIDATION_IMAGES = 64 ",
    "BATCH_SIZES = (1, 4, 8, 16, 32)": "BATCH_SIZES = (1, 2)",
    "batch_sizes=(1, 4, 8), iterations=6, warmup=1, throughput_s=0.1": (
        "batch_sizes=(1,), iterations=2, warmup=1, throughput_s=0.02"
    ),
}

_WARM_UP = """    for _ in range(warmup):
        model(input_data)
    synchronize()  # no warm-up work may run on into the first timed call

    times_ms = []
"""
_WAIT = "        synchronize()  # the call has returned; now its work is done too\n"
_TIMED_CALL = f"""        model(input_data)
{_WAIT}        times_ms.append((time.perf_counter() - start) * 1e3)
"""
_WAIT_FOR_BATCH = "        synchronize()  # count what is done, not what is queued\n"
_THROUGHPUT_CALL = f"""        model(images)
{_WAIT_FOR_BATCH}        images_done += batch_size
"""
_COUNT = "        right_top1 += (best_five[:, 0] == labels).sum()\n"
_COUNT_FIVE = "        right_top5 += (best_five == labels[:, None]).any(axis=1).sum()\n"
_LOOP = """    for images, labels in val_loader:
        keep = min(len(labels), num_samples - seen)
        images, labels = images[:keep].numpy(), labels[:keep].numpy()
        logits = model(images)  # (keep, classes)
        best_five = np.argsort(-logits, axis=1)[:, :5]  # (keep, 5), the best first
"""
_END = """        seen += keep
        if seen >= num_samples:
            break

    top1_acc = 100 * right_top1 / seen
    top5_acc = 100 * right_top5 / seen
"""
_AVERAGED = """        averages_top1.append((best_five[:, 0] == labels).mean())
        averages_top5.append((best_five == labels[:, None]).any(axis=1).mean())
        seen += keep
        if seen >= num_samples:
            break

    top1_acc = 100 * np.mean(averages_top1)
    top5_acc = 100 * np.mean(averages_top5)
"""
_BAD = '__import__("mutants.bad_engines", fromlist=["x"])'

MUTANTS = [
    Mutant(
        "stops the clock without waiting",
        "5.1",
        _TIMED_CALL,
        _TIMED_CALL.replace(_WAIT, ""),
        {"5.1": 1.25},
        "no-synchronise",
    ),
    Mutant(
        "synchronises with what it knows and not with what it is given",
        "5.1",
        _TIMED_CALL,
        _TIMED_CALL.replace("synchronize()", "cuda.Context.synchronize()"),
        {"5.1": 1.25},
        "no-synchronise",
    ),
    Mutant(
        "does not wait for the warm-up",
        "5.1",
        "    synchronize()  # no warm-up work may run on into the first timed call\n",
        "",
        {"5.1": 0.75},
        "warm-up-still-running",
    ),
    Mutant(
        "makes no warm-up calls", "5.1", "range(warmup)", "range(0)", {"5.1": 0.25}, "no-warm-up"
    ),
    Mutant(
        "counts the warm-up",
        "5.1",
        _WARM_UP + "    for _ in range(num_iterations):\n",
        "    times_ms = []\n    for _ in range(warmup + num_iterations):\n",
        {"5.1": 0.25},
        "warm-up-counted",
    ),
    Mutant(
        "times a fixed number of calls",
        "5.1",
        "range(num_iterations)",
        "range(50)",
        {"5.1": 0.25},
        "iterations-ignored",
    ),
    Mutant(
        "reports seconds",
        "5.1",
        "(time.perf_counter() - start) * 1e3",
        "time.perf_counter() - start",
        {"5.1": 0.25},
        "seconds-for-milliseconds",
    ),
    Mutant(
        "reports the mean as the median",
        "5.1",
        '"median_ms": median,',
        '"median_ms": mean,',
        {"5.1": 0.25},
        "mean-for-median",
    ),
    Mutant(
        "reads percentiles off unsorted times",
        "5.1",
        "p95, p99 = np.percentile(times_ms, [95, 99])",
        "p95, p99 = (times_ms[int(share * len(times_ms))] for share in (0.95, 0.99))",
        {"5.1": 0.5},
        "percentile-unsorted",
    ),
    Mutant(
        "gives fractions for percentages",
        "5.1",
        "p95, p99 = np.percentile(times_ms, [95, 99])",
        "p95, p99 = np.percentile(times_ms, [0.95, 0.99])",
        {"5.1": 0.5},
        "percentile-of-a-fraction",
    ),
    Mutant(
        "makes a new input in the stopwatch",
        "5.1",
        _TIMED_CALL,
        _TIMED_CALL.replace(
            "model(input_data)", "model(np.random.randn(*input_data.shape).astype(np.float32))"
        ),
        {"5.1": 0.75},
        "input-in-the-stopwatch",
    ),
    Mutant("leaves a figure out", "5.1", '        "std_ms": std,\n', "", {"5.1": 2}),
    Mutant(
        "counts calls",
        "5.2",
        "images_done += batch_size",
        "images_done += 1",
        {"5.2": 0.4},
        "calls-for-images",
    ),
    Mutant(
        "counts what is queued",
        "5.2",
        _THROUGHPUT_CALL,
        _THROUGHPUT_CALL.replace(_WAIT_FOR_BATCH, ""),
        {"5.2": 0.4},
        "queued-counted",
    ),
    Mutant(
        "stops at half time",
        "5.2",
        "    while elapsed < duration_sec:\n",
        "    while elapsed < duration_sec / 2:\n",
        {"5.2": 0.3},
        "past-the-duration",
    ),
    Mutant(
        "goes on when the time is up",
        "5.2",
        "    while elapsed < duration_sec:\n",
        "    while elapsed < 20 * duration_sec:\n",
        {"5.2": 0.7},
        "past-the-duration",
    ),
    Mutant(
        "draws images in the loop",
        "5.2",
        _THROUGHPUT_CALL,
        "        images = np.random.randn(batch_size, 3, 224, 224).astype(np.float32)\n"
        + _THROUGHPUT_CALL,
        {"5.2": 0.4},
        "input-in-the-stopwatch",
    ),
    Mutant(
        "always runs batch 1",
        "5.2",
        "standard_normal((batch_size, 3, 224, 224), dtype=np.float32)\n    model(images)",
        "standard_normal((1, 3, 224, 224), dtype=np.float32)\n    model(images)",
        {"5.2": 0.7},
        "batch-size-ignored",
    ),
    Mutant(
        "averages the batches",
        "5.3",
        _LOOP + _COUNT + _COUNT_FIVE + _END,
        "    averages_top1, averages_top5, seen = [], [], 0\n" + _LOOP + _AVERAGED,
        {"5.3": 0.7},
        "average-of-batches",
    ),
    Mutant(
        "takes the best along the batch",
        "5.3",
        _COUNT,
        "        right_top1 += (logits.argmax(axis=0) == labels).sum()\n",
        {"5.3": 0.9},
        "wrong-axis",
    ),
    Mutant(
        "takes the five worst",
        "5.3",
        _COUNT_FIVE,
        "        worst = np.argsort(logits, axis=1)[:, :5]\n"
        "        right_top5 += (worst == labels[:, None]).any(axis=1).sum()\n",
        {"5.3": 0.3},
        "bottom-five",
    ),
    Mutant(
        "counts the whole last batch",
        "5.3",
        "keep = min(len(labels), num_samples - seen)",
        "keep = len(labels)",
        {"5.3": 0.2},
        "num-samples-ignored",
    ),
    Mutant(
        "runs to the end of the loader",
        "5.3",
        "keep = min(len(labels), num_samples - seen)",
        "keep, num_samples = len(labels), 10**9",
        {"5.3": 0.2},
        "num-samples-ignored",
    ),
    Mutant(
        "returns shares",
        "5.3",
        "    top1_acc = 100 * right_top1 / seen\n    top5_acc = 100 * right_top5 / seen\n",
        "    top1_acc = right_top1 / seen\n    top5_acc = right_top5 / seen\n",
        {"5.3": 0.7},
        "fraction-for-percent",
    ),
    Mutant(
        "leaves train mode on",
        "5.3",
        "        model.eval()\n",
        "        pass\n",
        {"5.3": 0.1},
        "train-mode",
    ),
    Mutant(
        "takes an engine with an untrained classifier for FP16",
        "5.4",
        '"fp16": artifact("resnet50_dynamic_fp16.engine")',
        f'"fp16": {_BAD}.with_untrained_classifier()',
        {"5.4": 5},
        "fp16-more-than-rounding",
    ),
    Mutant(
        "keeps the half of an FP16 engine",
        "5.4",
        '"fp16": artifact("resnet50_dynamic_fp16.engine")',
        '"fp16": Path("resnet50_dynamic_fp16.engine").write_bytes(b"ptrt") '
        'and artifact("resnet50_dynamic_fp16.engine")',
        {"5.4": 6},
    ),
    Mutant(
        "calibrates on images that are not normalised",
        "5.5",
        '"int8": artifact("resnet50_int8.engine")',
        f'"int8": {_BAD}.calibrated_on_pixels()',
        {"5.5": 8},
        "int8-ranges-do-not-fit",
    ),
    Mutant(
        "calibrates on darkness",
        "5.5",
        '"int8": artifact("resnet50_int8.engine")',
        f'"int8": {_BAD}.calibrated_on_darkness()',
        {"5.5": 8},
        "int8-ranges-do-not-fit",
    ),
]

UNCHECKED = (
    "asynchrony-demo",
    "asynchrony-picture",
    "inside",
    "measure-5-4",
    "picture-5-4",
    "results",
    "predictions",
)
