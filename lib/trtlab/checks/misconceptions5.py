"""The misconceptions of lab 5: about stopwatches, about counting, and about lost accuracy."""

from trtlab.checks.misconceptions import misconception

NO_SYNCHRONISE = misconception(
    "no-synchronise",
    "The clock was stopped before the work was done",
    "A call on a GPU puts work into a queue and returns; the work itself comes later. If nothing "
    "waits for it, you time how fast Python can hand out work: microseconds, whatever the model "
    "is, and a speed-up that is none.",
)
WARM_UP_RUNNING = misconception(
    "warm-up-still-running",
    "The clock was started while warm-up work was still running",
    "The warm-up calls returned, but their work was still queued when the first timed call was "
    "made. That call waits for all of it, and its time goes into your mean and is your p99.",
)
NO_WARM_UP = misconception(
    "no-warm-up",
    "There was no warm-up",
    "The first calls load kernels, allocate memory and find the GPU at idle clocks: here they take "
    "many times as long as all later ones. A server makes them once; a benchmark must leave them "
    "out.",
)
WARM_UP_COUNTED = misconception(
    "warm-up-counted",
    "The warm-up calls are in the statistics",
    "You made the warm-up calls and timed them too. A few slow calls at the start move the mean "
    "and fill the tail, so that p99 tells about the warm-up and not about the model.",
)
ITERATIONS_IGNORED = misconception(
    "iterations-ignored",
    "num_iterations was not used",
    "The caller says how many calls to time: the more, the steadier the tail. A number written "
    "into the function takes that choice away, and the report then states a wrong one.",
)
SECONDS = misconception(
    "seconds-for-milliseconds",
    "Seconds under the name of milliseconds",
    "The clock counts seconds, and the keys end in _ms. A figure in the wrong unit is off by a "
    "thousand, and nobody who reads the report can tell.",
)
MEAN_FOR_MEDIAN = misconception(
    "mean-for-median",
    "Mean and median were mixed up",
    "Latencies are skewed: most calls are quick, and a few are slow. The mean follows the slow "
    "ones, the median does not; that is why both are reported.",
)
UNSORTED = misconception(
    "percentile-unsorted",
    "The percentile was read off the unsorted times",
    "p95 is the time that 95 of 100 calls stay within, so the times must stand in order first. In "
    "the order of measuring, position 95 of 100 is just the 95th call that you made.",
)
FRACTION = misconception(
    "percentile-of-a-fraction",
    "A fraction was given where a percentage belongs",
    "np.percentile counts from 0 to 100 and np.quantile from 0 to 1. The 0.95th percentile is "
    "nearly the fastest call, and no tail at all.",
)
INPUT_TIMED = misconception(
    "input-in-the-stopwatch",
    "Making the input is inside the stopwatch",
    "Your loop made a new input for each call, on the clock's time. Drawing random images takes "
    "longer than the model takes to classify them, so that is what you measured.",
)
CALLS_COUNTED = misconception(
    "calls-for-images",
    "Calls were counted, not images",
    "One call handles a whole batch. Counted in calls per second, a larger batch looks slower and "
    "batching looks like a loss; in images per second it is the other way round.",
)
QUEUED_COUNTED = misconception(
    "queued-counted",
    "Work was counted that was not done yet",
    "When the time was up, calls that you had counted were still in the queue. Only what is "
    "finished is throughput.",
)
PAST_DURATION = misconception(
    "past-the-duration",
    "The benchmark does not end when the time is up",
    "A throughput benchmark runs for a time, and not for a number of calls: a slow model would "
    "take minutes, a fast one would be over before its clocks are up.",
)
BATCH_IGNORED = misconception(
    "batch-size-ignored",
    "The input is not of the batch size asked for",
    "You multiply by a batch size that the model never saw, and the figure grows with a number "
    "that nothing was computed for.",
)
BATCH_AVERAGES = misconception(
    "average-of-batches",
    "Batches were averaged instead of images",
    "The last batch is smaller, and an average of the batches' accuracies gives each of its images "
    "more weight than the others have. Right images divided by images is the accuracy.",
)
WRONG_AXIS = misconception(
    "wrong-axis",
    "The best class was looked for along the batch",
    "Logits are (N, classes), one row per image. Along axis 0 you find out which image scores "
    "highest for each class. NumPy compares that with the labels without complaint wherever a "
    "batch has as many images as there are classes.",
)
BOTTOM_FIVE = misconception(
    "bottom-five",
    "The five worst classes were taken for the five best",
    "Sorting goes up: the first five positions hold the least likely classes.",
)
SAMPLES_IGNORED = misconception(
    "num-samples-ignored",
    "num_samples does not end the evaluation where it should",
    "The caller says how many images count. If the last batch is counted whole, or the loader is "
    "run to its end, two evaluations are of different images and cannot be compared.",
)
FRACTION_FOR_PERCENT = misconception(
    "fraction-for-percent",
    "A share under the name of percent",
    "0.97 is a share and 97 is a percentage. The limits of 0.1 and 1 are percentage points, and a "
    "loss of 0.02 in shares would look like a pass while it is two points.",
)
TRAIN_MODE = misconception(
    "train-mode",
    "The model was evaluated in train mode",
    "In train mode, batch norm normalises by the batch at hand and dropout drops: the answer for "
    "an image depends on its neighbours, and the running statistics change while you evaluate.",
)
NOT_ROUNDING = misconception(
    "fp16-more-than-rounding",
    "This loss is not from rounding",
    "FP16 keeps 11 significant bits, which turns the answer on about one image in a thousand. If "
    "more is lost, the engine holds another network than the one it is compared with: untrained "
    "weights, an export in train mode, an older ONNX file.",
)
RANGES_DO_NOT_FIT = misconception(
    "int8-ranges-do-not-fit",
    "The INT8 ranges do not fit the images",
    "Each activation has 256 values between the ends of its range. Ranges from images that look "
    "otherwise (noise, another preprocessing, too few) either cut real activations off or spread "
    "the 256 values so wide that real ones share a handful.",
)
