"""A submission with a script wherever a student can write one."""

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

GLOBAL = "pwned"


def payload(place: str) -> str:
    """HTML that sets a global of the page's JavaScript, if anything of it runs."""
    return (
        f"<script>window.{GLOBAL} = '{place}'</script>"
        f"<img src=x onerror=\"window.{GLOBAL} = '{place}'\">"
        f"<svg onload=\"window.{GLOBAL} = '{place}'\"></svg>"
    )


def hostile_notebook(notebook: NotebookNode) -> NotebookNode:
    """Put it into the answer, a Markdown cell, a saved output, a live one, and an exception."""
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id") == "task-1-3":
            cell.source = f"An answer.\n\n{payload('answer')}\n\n1 2 3 4 5 6 figures."
    saved = new_output("display_data", data={"text/html": payload("saved output")})
    notebook.cells += [
        new_markdown_cell(f"# Notes\n\n{payload('markdown')}", id="notes"),
        new_code_cell(
            f"from IPython.display import HTML, display\ndisplay(HTML({payload('output')!r}))",
            id="live",
            outputs=[saved],
        ),
        new_code_cell(f"raise ValueError({payload('exception')!r})", id="raises"),
    ]
    return notebook
