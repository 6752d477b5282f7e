"""Show matplotlib figures in the notebook without pyplot.

IPython draws a figure that a cell returns only after pyplot's inline backend has told it how.
trtlab's pictures are plain `Figure` objects, so it is told here.
"""

from IPython.core.getipython import get_ipython
from IPython.core.pylabtools import select_figure_formats


def show_figures_inline() -> None:
    """Have figures shown as PNG, at twice the resolution; outside IPython this does nothing."""
    shell = get_ipython()
    if shell is not None:
        select_figure_formats(shell, {"retina"})
