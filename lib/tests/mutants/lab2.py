"""Wrong solutions of lab 2: profiles, flags, and failures that nobody looks at."""

from mutants import Mutant

_NETWORK = """\
    network = builder.create_network(explicit_batch_flags(trt))
    parser = trt.OnnxParser(network, TRT_LOGGER)  # owns"""
_FP16_FIRST = "    config.set_flag(trt.BuilderFlag.FP16)\n    config.set_memory_pool_limit"
_WORKSPACE = "config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 2 << 30)"
_VERBOSITY = "config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED\n\n    one_image"
_CHECKED = """\
    if serialized_engine is None:
        raise RuntimeError(f"TensorRT could not build {onnx_path}; its log says why.")
"""
_PROFILE = """\
    profile = builder.create_optimization_profile()
    profile.set_shape("input", one_image, one_image, one_image)
    config.add_optimization_profile(profile)
"""
_DYNAMIC = """\
        (1, 3, 224, 224),  # min
        (8, 3, 224, 224),  # opt
        (32, 3, 224, 224),  # max
"""

MUTANTS = [
    Mutant(
        "creates the network without EXPLICIT_BATCH",
        "2.1",
        _NETWORK,
        _NETWORK.replace("explicit_batch_flags(trt)", ""),
        {"2.1": 4.5},
        "no-explicit-batch",
    ),
    Mutant(
        "ignores what the parser returns",
        "2.1",
        "if not parser.parse_from_file(onnx_path):",
        "parser.parse_from_file(onnx_path)\n    if False:",
        {"2.1": 0.5},
        "parser-errors-ignored",
    ),
    Mutant(
        "opens the engine file before looking at the plan",
        "2.1",
        _CHECKED,
        "",
        {"2.1": 0.5},
        "written-before-checked",
    ),
    Mutant(
        "forgets the FP16 flag",
        "2.1",
        _FP16_FIRST,
        "    config.set_memory_pool_limit",
        {"2.1": 1},
        "fp32-labelled-fp16",
    ),
    Mutant(
        "gives the workspace limit in MiB",
        "2.1",
        _WORKSPACE,
        _WORKSPACE.replace("2 << 30", "2048"),
        {"2.1": 0.5},
        "workspace-unit",
    ),
    Mutant("forgets the workspace limit", "2.1", _WORKSPACE, "", {"2.1": 0.5}),
    Mutant(
        "leaves the profiling verbosity as it is",
        "2.1",
        _VERBOSITY,
        "one_image",
        {"2.1": 1},
        "names-only",
    ),
    Mutant(
        "makes a profile and does not add it",
        "2.1",
        "    config.add_optimization_profile(profile)\n",
        "",
        {"2.1": 3.5},
        "profile-not-added",
    ),
    Mutant("makes no profile", "2.1", _PROFILE, "", {"2.1": 3.5}, "no-profile"),
    Mutant(
        "fixes the batch at 2",
        "2.1",
        "one_image = (1, 3, 224, 224)",
        "one_image = (2, 3, 224, 224)",
        {"2.1": 1},
        "profile-static",
    ),
    Mutant(
        "parses the notebook's ONNX file, whatever it is given",
        "2.1",
        "if not parser.parse_from_file(onnx_path):",
        "if not parser.parse_from_file(ONNX):",
        {"2.1": 1},
        "path-ignored",
    ),
    Mutant(
        "writes to a path of its own",
        "2.1",
        'open(engine_path, "wb")',
        'open("resnet50_fp16.engine", "wb")',
        {"2.1": 0.5},
        "path-ignored",
    ),
    Mutant("returns nothing", "2.1", "    return serialized_engine\n", "", {"2.1": 1}),
    Mutant(
        "returns the engine instead of the plan",
        "2.1",
        "    return serialized_engine\n",
        "    return trt.Runtime(TRT_LOGGER).deserialize_cuda_engine(serialized_engine)\n",
        {"2.1": 1},
    ),
    Mutant(
        "parses the notebook's ONNX file in the dynamic build, whatever it is given",
        "2.2",
        "parser.parse(Path(onnx_path).read_bytes())",
        "parser.parse(Path(ONNX).read_bytes())",
        {"2.2": 1.5},
        "path-ignored",
    ),
    Mutant(
        "ends the profile at batch 8",
        "2.2",
        "(32, 3, 224, 224),  # max",
        "(8, 3, 224, 224),  # max",
        {"2.2": 2.5},
        "profile-too-small",
    ),
    Mutant(
        "sets opt above max",
        "2.2",
        "(8, 3, 224, 224),  # opt",
        "(64, 3, 224, 224),  # opt",
        {"2.2": 5},
        "opt-outside",
    ),
    Mutant(
        "makes a profile of one batch",
        "2.2",
        _DYNAMIC,
        "        (8, 3, 224, 224),\n" * 3,
        {"2.2": 3.5},
        "profile-static",
    ),
    Mutant(
        "tunes for the largest batch",
        "2.2",
        "(8, 3, 224, 224),  # opt",
        "(32, 3, 224, 224),  # opt",
        {"2.2": 1.5},
        "wrong-opt",
    ),
    Mutant(
        "sets the profile for another tensor",
        "2.2",
        '"input",\n',
        '"images",\n',
        {"2.2": 5},
        "profile-wrong-tensor",
    ),
    Mutant(
        "forgets to add the dynamic profile",
        "2.2",
        "    config.add_optimization_profile(dynamic_profile)\n",
        "",
        {"2.2": 5},
        "profile-not-added",
    ),
    Mutant(
        "forgets the FP16 flag in the dynamic engine",
        "2.2",
        "    config.set_flag(trt.BuilderFlag.FP16)\n\n    plan",
        "\n    plan",
        {"2.2": 1},
        "fp32-labelled-fp16",
    ),
]
