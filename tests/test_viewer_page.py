import base64
import json
import re
import shutil
import subprocess

import pytest

from maed_jax.visual.viewer_page import SCRIPTS, asset, make_page

EVIL = "</title><script>alert(1)</script>{{data}}"


def test_the_page_needs_nothing_else():
    page = make_page(b"data", title="walk", video=b"video")
    text = re.sub(r"[A-Za-z0-9+/=]{40,}", "", page)
    assert not re.search(r"https?://|file:|//[a-z]|\bimport\b|fetch\(|XMLHttpRequest|@import", text)
    assert set(re.findall(r'(?:src|href)="([^"]*)"', page)) == {"data:,"}
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'") and "connect-src" not in policy
    assert "{{" not in page.replace("${{", "")


def test_data_and_video_come_back():
    data, video = bytes(range(256)), b"\0video"
    page = make_page(data, title="walk", video=video)
    for name, content in (("data", data), ("video", video)):
        text = re.search(rf'<script type="text/plain" id="{name}">(.*?)</script>', page)[1]
        assert base64.b64decode(text) == content
    assert ' id="video">/v.mp4</script>' in make_page(data, title="walk", video="/v.mp4")
    assert ' id="video"></script>' in make_page(data, title="walk")


def test_titles_are_text_and_nothing_more():
    page = make_page(b"data", title=EVIL)
    assert "<title>&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;{{data}}</title>" in page
    assert "<script>alert" not in page


def test_titles_that_are_not_unicode_can_be_written():
    assert b"<title>caf?.mp4</title>" in make_page(b"data", title="caf\udce9.mp4").encode()


def test_scripts_write_no_markup():
    """Names from files enter the page only as text."""
    script = "".join(asset(name) for name in SCRIPTS)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", script)
    assert "</script" not in script


@pytest.mark.skipif(not shutil.which("node"), reason="needs node to run the page's script")
def test_boxes_and_crops_are_where_they_are_in_the_video(tmp_path):
    script = (
        asset("panels.js")
        + """
    const drawn = {};
    const pen = {
      scale() {}, setLineDash() {}, fillRect() {},
      strokeRect: (...rectangle) => { drawn.box = rectangle; },
      drawImage: (image, ...rectangles) => { drawn[image.name] = rectangles; },
    };
    const canvas = {
      style: {}, clientWidth: 100, parentElement: { clientWidth: 220 }, getContext: () => pen,
    };
    globalThis.window = { innerHeight: 1000 };
    globalThis.heatMap = () => ({ name: "heat" });
    const person = {
      row: () => 1, visible: true, css: "red", detected: [1, 1], attention: {},
      boxes: Float32Array.of(0, 0, 0, 0, 19.5, 29.5, 20, 40),
      crops: Float32Array.of(0, 0, 0, 19.5, 29.5, 40),
    };
    const video = { name: "video", videoWidth: 200 }; // of 400 x 200, here at half the size
    const people = [person];
    const view = { size: [400, 200], focus: person, people, boxes: true, frame: 0, video };
    drawVideo(canvas, view, null);
    drawCrop(canvas, view);
    console.log(JSON.stringify(drawn));"""
    )
    (tmp_path / "panels.cjs").write_text(script)
    command = ["node", str(tmp_path / "panels.cjs")]
    drawn = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    # The box covers pixel columns 10 to 29 and rows 10 to 49.
    assert drawn["box"] == [5, 5, 10, 20]
    assert drawn["video"] == [0, 5, 20, 20, 0, 0, 100, 100]


@pytest.mark.skipif(not shutil.which("node"), reason="needs node to run the page's script")
def test_keys_work_wherever_the_focus_is_but_where_they_have_a_use(tmp_path):
    script = (
        asset("keys.js")
        + """
    const heard = {}, done = {};
    let now;
    const keys = [" ", "ArrowLeft", "Home", "f"];
    const act = (key) => [key, (event) => now.push(event.key)];
    listenToKeys(
      { addEventListener: (kind, listener) => { heard[kind] = listener; } },
      Object.fromEntries(keys.map(act)),
    );
    for (const kind of ["body", "button", "select", "input[type=checkbox]", "input[type=range]"]) {
      done[kind] = now = [];
      const target = { matches: (selector) => selector === kind };
      for (const key of [...keys, "F", "x"]) {
        let prevented = 0;
        const acted = now.length;
        heard.keydown({ key, target, preventDefault: () => { prevented += 1; } });
        if (prevented !== now.length - acted) throw new Error(`${kind} ${key}`);
      }
      heard.keydown({ key: "f", ctrlKey: true, target, preventDefault: null });
    }
    done.blurred = [1, 0].map((detail) => {
      let left = false;
      const button = { blur: () => { left = true; } };
      heard.click({ detail, target: { closest: () => button } });
      heard.click({ detail, target: { closest: () => null } });
      return left;
    });
    console.log(JSON.stringify(done));"""
    )
    (tmp_path / "keys.cjs").write_text(script)
    command = ["node", str(tmp_path / "keys.cjs")]
    done = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    every = [" ", "ArrowLeft", "Home", "f", "F"]
    assert done == {
        "body": every,
        "input[type=range]": every,
        "button": every[1:],
        "input[type=checkbox]": every[1:],
        "select": ["f", "F"],
        "blurred": [True, False],  # by mouse but not by key
    }
