"""Submitted notebooks: read as hostile data, repaired against the release."""

from trtlab_grader.notebooks.repair import Repaired, repair, repair_file

__all__ = ["Repaired", "repair", "repair_file"]
