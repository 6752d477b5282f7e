"""nbgrader's settings for this course, found by nbgrader when it runs in this folder.

The folders of solutions/ are the assignments. Their release is labs/, made by `make release`.
"""

from pathlib import Path

from nbconvert.preprocessors import ClearMetadataPreprocessor
from nbgrader.converters import GenerateAssignment

c = get_config()  # type: ignore[name-defined]  # noqa: F821  (defined by traitlets)

c.CourseDirectory.root = str(Path(__file__).resolve().parents[1])
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "labs"

# nbgrader releases whatever lies beside a notebook; leave out what running it there has made.
c.GenerateAssignmentApp.CourseDirectory.ignore = [
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

# JupyterLab keeps widgets' state, execution times and the Python version in the metadata of what it
# saves. Dropped, a release depends on nothing but what the instructor wrote.
c.GenerateAssignment.preprocessors = [
    ClearMetadataPreprocessor,
    *GenerateAssignment.preprocessors.default(),
]
c.ClearMetadataPreprocessor.enabled = True
c.ClearMetadataPreprocessor.preserve_nb_metadata_mask = {"kernelspec", ("language_info", "name")}
c.ClearMetadataPreprocessor.preserve_cell_metadata_mask = {"nbgrader", "tags"}

# A lab builds engines: minutes on a GPU, where nbgrader would give a cell 30 seconds.
c.ExecutePreprocessor.timeout = 600
