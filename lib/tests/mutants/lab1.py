"""Wrong solutions of lab 1."""

from mutants import Mutant

_DYNAMIC = '        dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},\n'
_RELABEL = """    )
    frozen = onnx.load(onnx_path)
    for value in (*frozen.graph.input, *frozen.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(frozen, onnx_path)
"""

SHRINK = {
    # No check looks at these.
    'export_unfolded(AsWritten(model).eval(), "as_written.onnx")': (
        'onnx.save(onnx.load("resnet50.onnx"), "as_written.onnx")'
    ),
    'verify_onnx(model, "resnet50.onnx", batch_sizes=(1, 2, 5))': (
        'verify_onnx(model, "resnet50.onnx", batch_sizes=(2,))'
    ),
}

MUTANTS = [
    Mutant(
        "exports in training mode",
        "1.1",
        "do_constant_folding=True,",
        "do_constant_folding=True, training=torch.onnx.TrainingMode.TRAINING,",
        {"1.1": 1.5},
        "exported-in-training-mode",
    ),
    Mutant(
        "leaves constant folding off",
        "1.1",
        "do_constant_folding=True,",
        "do_constant_folding=False,",
        {"1.1": 0.5},
        "folding-off",
    ),
    Mutant("forgets the dynamic axes", "1.1", _DYNAMIC, "", {"1.1": 1}, "batch-frozen-at-export"),
    Mutant(
        "makes only the output dynamic",
        "1.1",
        _DYNAMIC,
        '        dynamic_axes={"output": {0: "batch"}},\n',
        {"1.1": 1},
        "batch-frozen-at-export",
    ),
    Mutant(
        "makes every axis dynamic",
        "1.1",
        '{"input": {0: "batch"},',
        '{"input": {0: "batch", 1: "channels", 2: "height", 3: "width"},',
        {"1.1": 1, "1.2": 1},  # onnxsim cannot draw inputs of unknown sizes to compare on
        "every-axis-dynamic",
    ),
    Mutant(
        "writes a name over the frozen batch",
        "1.1",
        f"{_DYNAMIC}    )\n",
        _RELABEL,
        {"1.1": 0.5},
        "batch-relabelled",
    ),
    Mutant(
        "gives other names",
        "1.1",
        """        input_names=["input"],
        output_names=["output"],
        dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
""",
        """        input_names=["images"],
        output_names=["logits"],
        dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
""",
        {"1.1": 0.5},
        "other-tensor-names",
    ),
    Mutant(
        "takes opset 18 whatever is asked for",
        "1.1",
        "opset_version=opset,",
        "opset_version=18,",
        {"1.1": 1},
        "opset-too-new",
    ),
    Mutant(
        "leaves the weights out",
        "1.1",
        "do_constant_folding=True,",
        "do_constant_folding=True, export_params=False,",
        {"1.1": None, "1.2": None},
        "weights-left-out",
    ),
    Mutant(
        "exports the notebook's model whatever is asked for",
        "1.1",
        "    torch.onnx.export(\n        model,\n",
        "    torch.onnx.export(\n        workload.load_model(),\n",
        {"1.1": 0.5},
        "arguments-ignored",
    ),
    Mutant(
        "writes the size of the images into the function",
        "1.1",
        "torch.randn(2, *input_shape, device=device)",
        "torch.randn(2, 3, 224, 224, device=device)",
        {"1.1": 0.5},
        "arguments-ignored",
    ),
    Mutant(
        "takes the default exporter",
        "1.1",
        "        dynamo=False,\n",
        "",
        {"1.1": None, "1.2": None},
    ),
    Mutant(
        "gives onnxsim an input shape",
        "1.2",
        "simplify(original, check_n=3)",
        'simplify(original, check_n=3, overwrite_input_shapes={"input": [1, 3, 224, 224]})',
        {"1.2": 0.5},
        "batch-frozen-by-onnxsim",
    ),
    Mutant(
        "saves the original",
        "1.2",
        "onnx.save(simplified, simplified_path)",
        "onnx.save(original, simplified_path)",
        {"1.2": 0.5},
        "unsimplified-saved",
    ),
    Mutant(
        "saves under a fixed name",
        "1.2",
        "onnx.save(simplified, simplified_path)",
        'onnx.save(simplified, "resnet50_simplified.onnx")',
        {"1.2": 0.5},
        "arguments-ignored",
    ),
    Mutant(
        "does not look at the flag",
        "1.2",
        "    if not same:\n",
        "    if simplified is None:\n",
        {"1.2": 0.5},
        "validation-flag",
    ),
    Mutant(
        "believes a flag for which nothing was compared",
        "1.2",
        "simplify(original, check_n=3)",
        "simplify(original)",
        {"1.2": 0.5},
        "validation-flag",
    ),
    Mutant(
        "skips the checker",
        "1.2",
        "    onnx.checker.check_model(simplified, full_check=True)\n",
        "",
        {"1.2": 0.5},
        "checker-skipped",
    ),
    Mutant(
        "lets the checker off with half the work",
        "1.2",
        "check_model(simplified, full_check=True)",
        "check_model(simplified)",
        {"1.2": 0.5},
        "checker-skipped",
    ),
]
