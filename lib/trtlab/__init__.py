"""trtlab: from PyTorch through ONNX to TensorRT, measured honestly.

Start with `trtlab.workloads.load_workload`, or with the command line: `trtlab --help`.
"""

__version__ = "0.1.0"
