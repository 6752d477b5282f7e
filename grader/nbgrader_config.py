"""nbgrader's settings for this repository, found by nbgrader when it runs in this folder.

The folders of solutions/ are the assignments. Their release is labs/, made by `make release`. A
course directory has settings of its own, which `trtlab-grade init` writes.
"""

from pathlib import Path

from trtlab_grader.nbgrader_glue.releasing import LEFT_BY_RUNNING, release_settings

c = get_config()  # type: ignore[name-defined]  # noqa: F821  (defined by traitlets)

c.merge(release_settings())
c.CourseDirectory.root = str(Path(__file__).resolve().parents[1])
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "labs"
c.GenerateAssignmentApp.CourseDirectory.ignore = LEFT_BY_RUNNING

# A lab builds engines: minutes on a GPU, where nbgrader would give a cell 30 seconds.
c.ExecutePreprocessor.timeout = 600
