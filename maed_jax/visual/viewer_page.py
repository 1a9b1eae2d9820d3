"""The viewer's page: one HTML file that holds all it needs and asks the network for nothing."""

from __future__ import annotations

import base64
import html
import re
from importlib import resources

# Later files use what earlier ones define: they are one script.
SCRIPTS = (
    "data.js", "geometry.js", "shaders.js", "scene.js", "orbit.js", "clock.js", "attention.js",
    "panels.js", "timeline.js", "keys.js", "main.js",
)  # fmt: skip


def asset(name: str) -> str:
    """The text of a file of the folder page/."""
    return (resources.files("maed_jax.visual") / "page" / name).read_text(encoding="utf-8")


def make_page(data: bytes, *, title: str, video: bytes | str | None = None) -> str:
    """The page as HTML.

    Args:
      data: of `viewer_data.page_data`.
      title: of the window; any text, in which what is not Unicode becomes question marks.
      video: an mp4 to put into the page; or where the server of the page has it ("/video.mp4").
    """
    if video is None or isinstance(video, str):
        source = video or ""
    else:
        source = base64.b64encode(video).decode()
    parts = {
        "title": html.escape(title.encode("utf-8", "replace").decode()),
        "style": asset("style.css"),
        "data": base64.b64encode(data).decode(),
        "video": source,
        "script": "\n".join(asset(name) for name in SCRIPTS),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], asset("page.html"))
