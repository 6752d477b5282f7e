"""Plausible wrong inference classes."""

from mutants import Mutant

SHRINK = {
    "IMAGES = 32  #": "IMAGES = 4  #",
    "SHOWN = 8": "SHOWN = 2",
    "TRACED_CALLS = 3 if IS_EMULATED else 50": "TRACED_CALLS = 1",
}

_ENQUEUE_CHECK = """\
        if not enqueued:
            raise RuntimeError("TensorRT refused to run the engine; the reason is in its log")
"""
_SHAPE_CHECK = """\
        if not self.context.set_input_shape(self.input, shape):
            low, high = self.batches
            raise ValueError(f"the engine takes batches of {low} to {high}, not shape {shape}")
"""
_FREE = """\
        for allocation in self.device.values():
            allocation.free()
        self.host, self.device = {}, {}
"""
_COPY_IN = "cuda.memcpy_htod_async(self.device[self.input], host_in, self.stream)"
_COPY_OUT = "cuda.memcpy_dtoh_async(host_out, self.device[self.output], self.stream)"
_STAGE = "np.copyto(host_in, input_data)"
_INPUT_OF_MODE = """\
            if self.engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
                self.input = name
            else:
                self.output = name
"""

MUTANTS = [
    Mutant(
        "does not wait for the stream",
        "4.1",
        "self.stream.synchronize()",
        "pass",
        {"4.1": 2.5, "4.2": 0.75},
        "missing-synchronise",
    ),
    Mutant(
        "waits before the copy to the host is queued",
        "4.1",
        _COPY_OUT + "\n        self.stream.synchronize()",
        "self.stream.synchronize()\n        " + _COPY_OUT,
        {"4.1": 2.5, "4.2": 0.75},
        "missing-synchronise",
    ),
    Mutant(
        "returns the pinned buffer itself",
        "4.1",
        "return host_out.copy()",
        "return host_out",
        {"4.1": 0.5},
        "returned-buffer",
    ),
    Mutant(
        "makes the host buffers float64",
        "4.1",
        "cuda.pagelocked_empty(math.prod(shape), dtype)",
        "cuda.pagelocked_empty(math.prod(shape), np.float64)",
        {"4.1": 2.5, "4.2": 0.75},
        "wrong-dtype",
    ),
    Mutant(
        "copies the bytes of whatever array it is given",
        "4.1",
        _STAGE,
        "host_in = np.ascontiguousarray(input_data)",
        {"4.1": 0.5, "4.2": 0.25},
        "wrong-dtype",
    ),
    Mutant(
        "flattens the input in the order of memory",
        "4.1",
        _STAGE,
        'host_in.reshape(-1)[:] = input_data.ravel(order="K")',
        {"4.1": 0.5},
        "memory-order",
    ),
    Mutant(
        "normalises the caller's array in place",
        "4.1",
        _STAGE,
        _STAGE + "; input_data *= 0.5",
        {"4.1": 0.5},
    ),
    Mutant(
        "does not look at the enqueue's answer",
        "4.1",
        _ENQUEUE_CHECK,
        "",
        {"4.1": 0.5},
        "ignored-refusal",
    ),
    Mutant(
        "writes the tensors' names into the class",
        "4.1",
        _INPUT_OF_MODE,
        '            self.input, self.output = "input", "output"\n',
        {"4.1": 1.0},
        "hard-coded-engine",
    ),
    Mutant(
        "writes the number of classes into the class",
        "4.1",
        "output_shape = tuple(self.context.get_tensor_shape(self.output))",
        "output_shape = (len(input_data), 10)",
        {"4.1": 1.0},
        "hard-coded-engine",
    ),
    Mutant(
        "sizes the buffers for one image",
        "4.1",
        "shape = (largest[0], *",
        "shape = (1, *",
        {"4.1": 4, "4.2": None},
        "buffers-too-small",
    ),
    Mutant(
        "sizes the buffers for the profile's opt",
        "4.2",
        "shape = (largest[0], *",
        "shape = (usual[0], *",
        {"4.2": None},
        "buffers-too-small",
    ),
    Mutant(
        "never sets the input's shape",
        "4.2",
        _SHAPE_CHECK,
        "",
        {"4.1": None, "4.2": None},
        "shape-not-set",
    ),
    Mutant(
        "runs every batch at the profile's maximum",
        "4.2",
        "if not self.context.set_input_shape(self.input, shape):",
        "if not self.context.set_input_shape(self.input, (self.batches[1], *shape[1:])):",
        {"4.1": None, "4.2": None},
        "padded-to-maximum",
    ),
    Mutant(
        "does not look at set_input_shape's answer",
        "4.2",
        _SHAPE_CHECK,
        "        self.context.set_input_shape(self.input, shape)\n",
        {"4.2": 0.25},
        "ignored-refusal",
    ),
    Mutant(
        "allocates the buffers in every call",
        "4.2",
        _STAGE,
        "self.allocate_buffers(); " + _STAGE,
        {"4.2": 0.25},
        "allocation-per-call",
    ),
    Mutant(
        "pins a new output buffer in every call",
        "4.2",
        _COPY_OUT,
        "host_out = cuda.pagelocked_empty(output_shape, np.float32); " + _COPY_OUT,
        {"4.2": 0.25},
        "allocation-per-call",
    ),
    Mutant(
        "runs the engine on the default stream",
        "4.2",
        "self.context.execute_async_v3(self.stream.handle)",
        "self.context.execute_async_v3(0)",
        {"4.2": 0.25},
        "default-stream",
    ),
    Mutant(
        "copies with the waiting functions",
        "4.2",
        _COPY_IN,
        "cuda.memcpy_htod(self.device[self.input], host_in)",
        {"4.2": 0.25},
        "synchronous-copies",
    ),
    Mutant(
        "uses ordinary memory for the host buffers",
        "4.2",
        "cuda.pagelocked_empty(math.prod(shape), dtype)",
        "np.empty(math.prod(shape), dtype)",
        {"4.2": 0.25},
        "pageable-copies",
    ),
    Mutant(
        "keeps the buffers when it is closed",
        "4.3",
        _FREE,
        "",
        {"4.3": 0.75},
        "never-freed",
    ),
    Mutant(
        "keeps the execution context",
        "4.3",
        "        self.context = None  # before the engine, which it must not outlive\n",
        "",
        {"4.3": 0.5},
        "never-freed",
    ),
    Mutant(
        "frees again what is freed",
        "4.3",
        "        self.host, self.device = {}, {}\n        self.context",
        "        self.context",
        {"4.3": 0.25},
        "freed-twice",
    ),
    Mutant(
        "does not close at the end of a with block",
        "4.3",
        """        ### BEGIN SOLUTION
        self.close()
""",
        """        ### BEGIN SOLUTION
        pass
""",
        {"4.3": 0.25},
        "never-freed",
    ),
    Mutant(
        "lets __exit__ hide the exception",
        "4.3",
        """        ### BEGIN SOLUTION
        self.close()
""",
        """        ### BEGIN SOLUTION
        self.close()
        return True
""",
        {"4.3": 0.25},
        "swallowed-exception",
    ),
    Mutant(
        "forgets to return the object from __enter__",
        "4.3",
        "        return self\n",
        "        pass\n",
        {"4.3": 0.25},
    ),
]

UNCHECKED = ("buffers", "buffer-size", "batches", "call", "pinned", "with", "memory")
