"""A report as one file of HTML that needs no network. An edge: it reads templates and plotly.js.

Everything is escaped where it is put in. JSON in the page cannot end its script, and a content policy lets
nothing run but the two scripts, by their digests, whatever else may have come in.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from peer.report.themes import DARK, LIGHT

if TYPE_CHECKING:
    from peer.report.page import Page

FOLDER: Final = Path(__file__).parent / "static"

_UNSAFE_IN_SCRIPTS: Final = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}


def as_html(page: Page) -> str:
    """The whole file. Raises OSError if a file of the installation is missing."""
    plotly, own = _script(plotly_source()), _script((FOLDER / "report.js").read_text(encoding="utf-8"))
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.jinja").render(
        page=page,
        style=Markup((FOLDER / "report.css").read_text(encoding="utf-8")),  # noqa: S704  (ours)
        plotly=Markup(plotly),  # noqa: S704  (as it was installed, and not able to end its script)
        script=Markup(own),  # noqa: S704  (ours)
        figures=Markup(script_json(_drawn(page))),  # noqa: S704  (not able to end its script)
        policy=f"default-src 'none'; script-src {_digest(plotly)} {_digest(own)}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'",
    )


def plotly_source() -> str:
    """plotly.js, as the package of Python brings it."""
    import plotly

    path = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    return path.read_text(encoding="utf-8")


def script_json(content: object) -> str:
    """JSON that may stand in a script element: whatever it holds, none of it is markup. NaN is refused."""
    found = json.dumps(content, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    for character, harmless in _UNSAFE_IN_SCRIPTS.items():
        found = found.replace(character, harmless)
    return found


def _drawn(page: Page) -> dict[str, object]:
    """What the script draws, and in which colours."""
    return {
        "themes": {"light": LIGHT, "dark": DARK},
        "figures": {figure.key: figure.picture for figure in page.figures},
    }


def _script(source: str) -> str:
    """The source so that nothing in it ends the element that it stands in."""
    return source.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _digest(source: str) -> str:
    """As the policy names a script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
