"""The mistakes of lab 1: in the export, and in simplifying it."""

from trtlab.checks.misconceptions import misconception

TRAINING_MODE = misconception(
    "exported-in-training-mode",
    "The graph was exported in training mode",
    "In training mode, batch normalisation uses the statistics of the batch at hand, and dropout "
    "zeroes activations at random. Your graph does the same for every user: what it says of an "
    "image depends on the other images in the batch, and nothing can be folded.",
)
FOLDING_OFF = misconception(
    "folding-off",
    "Constant folding was left off",
    "In eval mode, a batch normalisation multiplies and shifts each channel by constants. The "
    "exporter can multiply them into the convolution before it and drop the node, but only if it "
    "is allowed to fold constants.",
)
FROZEN = misconception(
    "batch-frozen-at-export",
    "The batch size of the example input was frozen",
    "Tracing writes down the shapes of your example input. Unless a dimension is declared dynamic "
    "by name, its number goes into the file: this graph takes the example's batch, and no other.",
)
ALL_DYNAMIC = misconception(
    "every-axis-dynamic",
    "More than the batch was declared dynamic",
    "Each dynamic dimension is one that TensorRT cannot plan for: it must be in every optimization "
    "profile, and kernels are chosen for a range of sizes instead of one. Images of this model "
    "always have 3 channels and 224 x 224 pixels.",
)
RELABELLED = misconception(
    "batch-relabelled",
    "The batch is called dynamic, but is a number inside the graph",
    "Input and output have a symbolic batch, but a node inside holds the batch size of the example "
    "input, as a reshape does. Writing a name over a dimension of a finished file does not change "
    "what was traced; the exporter has to know before it traces.",
)
NAMES = misconception(
    "other-tensor-names",
    "The graph's tensors have other names than those agreed upon",
    "TensorRT finds inputs and outputs by name: in the optimization profile, in "
    "set_input_shape, in set_tensor_address. The names in the file are the interface to everything "
    "after it, and PyTorch makes up its own if it is given none.",
)
OPSET = misconception(
    "opset-too-new",
    "Newer is not better: the opset is beyond the parser",
    "An opset fixes what each operator means. From 18 on, for example, ReduceMax takes its axes as "
    "an input instead of an attribute. The parser of TensorRT 8.6 knows the operators up to opset "
    "17; what comes later it rejects, or reads wrongly.",
)
NO_WEIGHTS = misconception(
    "weights-left-out",
    "The weights are inputs instead of contents",
    "Without its parameters the file is an empty shell: every weight is one more input that "
    "somebody has to supply at each call. A builder has nothing to fold, fuse or quantise.",
)
FIXED_ARGUMENTS = misconception(
    "arguments-ignored",
    "The function does not use what it is given",
    "It was called with another model, path, input shape and opset. What it did fits your "
    "notebook's values instead: names from outside the function, or numbers written into it.",
)
FROZEN_BY_ONNXSIM = misconception(
    "batch-frozen-by-onnxsim",
    "onnxsim was given an input shape, and froze the batch",
    "An input shape that overwrites the graph's makes every shape a constant. That folds more "
    "nodes, and the file takes exactly one batch size from then on: the profile 1/8/32 of lab 2 "
    "could not be built from it. onnxsim needs no shapes to simplify.",
)
UNSIMPLIFIED = misconception(
    "unsimplified-saved",
    "The graph that was saved is not the simplified one",
    "onnxsim returns a new graph and leaves the one that you gave it as it was. Saving the old one "
    "raises no error; only the number of nodes tells.",
)
UNCOMPARED = misconception(
    "validation-flag",
    "The validation flag was not asked for, or not looked at",
    "simplify() returns a graph and a flag. It raises nothing if the two graphs differ, and with "
    "check_n at its default of 0 it compares nothing, and the flag is always True. The graph here "
    "drops features at random, so that no two runs agree: any comparison notices.",
)
UNCHECKED = misconception(
    "checker-skipped",
    "The result was saved without a full check",
    "This graph claims 7 output columns and computes 3. onnxsim passes it on, and ONNX Runtime "
    "runs it. onnx.checker notices, if it is asked to infer all shapes as well; without, an engine "
    "built from such a file has output buffers of the wrong size.",
)
