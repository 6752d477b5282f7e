"""The version that the emulated TensorRT reports; its suffix is how programs tell it apart."""

VERSION = "8.6.0+emulated"
