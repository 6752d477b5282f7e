"""From a template and data to one HTML file: escaped, without scripts, with nothing outside it.

The content security policy allows the one stylesheet by its hash and pictures that are in the file.
Should markup of a student ever get through, a browser would still neither run nor load anything.
"""

import base64
import hashlib
from collections.abc import Callable
from importlib.resources import files

import jinja2
from markupsafe import Markup

from trtlab_grader.reports import text


def render(template: str, show: Callable[[str], str], **data: object) -> str:
    """Return a page.

    Args:
        template: a file in templates/.
        show: what every text goes through before it is escaped: `text.visible` or
            `text.for_students`.
        data: what the template speaks of.
    """

    def finalize(value: object) -> object:
        return show(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trtlab_grader.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["points"] = text.points
    style = files("trtlab_grader.reports").joinpath("templates/style.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return environment.get_template(template).render(
        style=Markup(style), policy=Markup(policy), **data
    )
