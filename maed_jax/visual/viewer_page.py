"""The viewer's page: one self-contained HTML file that makes no network requests."""

from __future__ import annotations

import base64
import html
import re
from importlib import resources

# In this order: later files use what earlier ones define, as all become one script.
SCRIPTS = (
    "data.js", "geometry.js", "shaders.js", "scene.js", "orbit.js", "clock.js", "attention.js",
    "panels.js", "timeline.js", "keys.js", "main.js",
)  # fmt: skip


def asset(name: str) -> str:
    """Returns the text of a file in the folder page/."""
    return (resources.files("maed_jax.visual") / "page" / name).read_text(encoding="utf-8")


def make_page(data: bytes, *, title: str, video: bytes | str | None = None) -> str:
    """Returns the page as HTML.

    Args:
      data: from `viewer_data.page_data`.
      title: of the window; anything in it that is not Unicode becomes a question mark.
      video: an MP4 to embed, or its URL on the page's server ("/video.mp4"); None: no video.
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
