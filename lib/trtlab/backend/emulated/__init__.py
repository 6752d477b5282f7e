"""A CPU emulation of the part of TensorRT and pycuda that the labs use; no NVIDIA software needed.

`tensorrt` and `cuda` are the two modules to import, through `trtlab.backend`. The rest of the
folder is how they work: ONNX Runtime computes the results for real, and what NVIDIA's modules
refuse is refused here too. Speed is not emulated: a time measured here says nothing about a GPU.
"""
