"""nbgrader's settings for releasing: the same in a course directory and in this repository."""

from nbconvert.preprocessors import ClearMetadataPreprocessor
from nbgrader.converters import GenerateAssignment
from traitlets.config import Config

LEFT_BY_RUNNING = [
    ".ipynb_checkpoints",
    "__pycache__",
    "calibration_images",
    "*.onnx",
    "*.engine",
    "*.cache",
    "*.json",
    "*.html",
    "*.png",
]
"""nbgrader copies whatever lies beside a notebook; leave out what running it there has made."""


def release_settings() -> Config:
    """Return the settings with which a release depends on nothing but what an instructor wrote."""
    c = Config()
    # JupyterLab keeps widgets' state, execution times and the Python version in the metadata of
    # what it saves.
    c.GenerateAssignment.preprocessors = [
        ClearMetadataPreprocessor,
        *GenerateAssignment.preprocessors.default(),
    ]
    c.ClearMetadataPreprocessor.enabled = True
    c.ClearMetadataPreprocessor.preserve_nb_metadata_mask = {
        "kernelspec",
        ("language_info", "name"),
    }
    c.ClearMetadataPreprocessor.preserve_cell_metadata_mask = {"nbgrader", "tags"}
    return c
