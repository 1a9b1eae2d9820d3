"""index.html: a page next to the results that shows them in any browser, without server or network.

All external strings (names of files and detectors) are escaped.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from urllib.parse import quote

from maed_jax.visual.colors import color_of

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; }
body { padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.facts { color: #888; margin: 0 0 1rem; }
video, img { width: 100%; max-height: 75vh; background: #000; object-fit: contain; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line); }
td.when { width: 45%; padding: 0 .6rem; }
.note { display: block; color: #888; font-size: .85em; white-space: nowrap; }
svg { display: block; width: 100%; height: 22px; background: var(--soft); cursor: pointer; }
svg line { stroke: currentColor; stroke-width: 1; vector-effect: non-scaling-stroke; }
.dot { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .5em; }
a { margin-right: .8em; }
"""

# Clicking a bar seeks to that moment; a line in every bar follows the video.
_SCRIPT = """
const video = document.querySelector("video"), bars = [...document.querySelectorAll("svg")];
if (video) {
  for (const bar of bars) bar.addEventListener("click", (event) => {
    const box = bar.getBoundingClientRect();
    video.currentTime = (event.clientX - box.left) / box.width * video.duration;
  });
  const follow = () => {
    const x = 1000 * video.currentTime / video.duration || 0;
    for (const bar of bars) {
      const line = bar.querySelector("line");
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
    }
    requestAnimationFrame(follow);
  };
  follow();
}
"""


def write_page(path: Path, content: dict) -> None:
    """Writes the page for `content`, that of results.json.

    In file names, anything that is not Unicode becomes a question mark.
    """
    path.write_text(page(content), encoding="utf-8", errors="replace")


def page(content: dict) -> str:
    """Returns the page as HTML."""
    video, people = content["video"], content["people"]
    name = escape(Path(video["path"]).name)
    media = "No overlay was drawn."
    if content["overlay"]:
        link = quote(content["overlay"])
        media = f'<video src="{link}" controls loop muted playsinline></video>'
        if link.endswith(".jpg"):
            media = f'<img src="{link}" alt="bodies drawn over the image">'
    rows = "\n".join(_row(person, content) for person in people)
    shared = _links(name for name in content["exports"] if not name.startswith("person_"))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{name}</h1>
<p class="facts">{escape(_facts(content))}</p>
{media}
<h2>People</h2>
<table>
<tr><th>Person</th><th>Frames</th><th>When</th><th>Files</th></tr>
{rows}
</table>
<p>Everybody: {_links(["results.json"])}{shared}</p>
<h2>How it was made</h2>
<table>
{_facts_table(content)}
</table>
<script>{_SCRIPT}</script>
</body>
</html>
"""


def _facts(content: dict) -> str:
    video, people = content["video"], content["people"]
    frames = video["frames"]
    with_people = sum(bool(ids) for ids in content["people_in_frame"])
    length = "" if frames == 1 else f"{frames / video['fps']:.1f} s, "
    return (
        f"{video['width']} × {video['height']}, {length}{frames} frame{'s' * (frames != 1)}; "
        f"{len(people)} {'person' if len(people) == 1 else 'people'}, "
        f"seen in {with_people} of {frames}"
    )


def _row(person: dict, content: dict) -> str:
    id, frames = person["id"], person["frames"]
    color = "rgb({}, {}, {})".format(*color_of(id))
    interpolated = frames - person["detected"]
    note = f'<span class="note">{interpolated} interpolated</span>' if interpolated else ""
    prefixes = (f"person_{id}.", f"person_{id}_", f"attention_{id}.")
    files = [n for n in [*content["exports"], *content["attention"]] if n.startswith(prefixes)]
    return (
        f'<tr><td><span class="dot" style="background:{color}"></span>{id}</td>'
        f'<td>{frames}{note}</td><td class="when">{_bar(id, color, content)}</td>'
        f"<td>{_links([person['file'], *files])}</td></tr>"
    )


def _bar(id: int, color: str, content: dict) -> str:
    """Draws when the person is present: stretches of the video, which is 1000 units long."""
    inside = [id in ids for ids in content["people_in_frame"]]
    edges = [i for i, (a, b) in enumerate(zip([False, *inside], [*inside, False])) if a != b]
    unit = 1000 / len(inside)
    rects = "".join(
        f'<rect x="{a * unit:.2f}" width="{(b - a) * unit:.2f}" y="3" height="16" fill="{color}"/>'
        for a, b in zip(edges[::2], edges[1::2])
    )
    return (
        f'<svg viewBox="0 0 1000 22" preserveAspectRatio="none">{rects}'
        '<line x1="-9" x2="-9" y1="0" y2="22"/></svg>'
    )


def _links(names: Iterable[str]) -> str:
    return "".join(
        f'<a href="{quote(name)}{"/" if name.endswith("_obj") else ""}">{escape(name)}</a>'
        for name in names
    )


def _facts_table(content: dict) -> str:
    video, model = content["video"], content["model"]
    ((kind, name),) = content["boxes"].items()
    body = model.get("body", "unknown")
    facts = {
        "Video": video["path"],
        "Frame rate": f"{video['fps']:g} frames per second",
        "Damaged frames": len(video["damaged_frames"]),
        "Boxes from": f"the {kind} {name}",
        "Model": model.get("checkpoint", "passed in Python"),
        "Body": "the built-in mannequin, not SMPL" if body == "mannequin" else body,
        "Shape": "one per person" if content["one_shape"] else "one per frame",
        "Smoothing": "One-Euro filter" if content["smoothed"] else "none",
        "Written by": f"maed_jax {model['maed_jax']}",
    }
    return "\n".join(
        f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>"
        for name, value in facts.items()
    )
