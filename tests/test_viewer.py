import json
import re
import shutil
import threading
import time
import urllib.request
from http.server import ThreadingHTTPServer

import numpy as np
import pytest
from small_results import FRAMES, contents, moving_person, write_results

from maed_jax.cli import run
from maed_jax.errors import UserError
from maed_jax.inference.video import VideoWriter, open_video
from maed_jax.visual import viewer

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
NAME = "<b>walk & 'run'.mp4"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return write_results(tmp_path_factory.mktemp("results"), NAME)[0]


@pytest.fixture(scope="module")
def page(out):
    """The page, saved by the command line."""
    path = out.parent / "page.html"
    viewer.main([str(out), "--save", str(path)])
    return path


def test_save(page, capsys):
    text = page.read_text()
    assert "<title>&lt;b&gt;walk &amp; &#x27;run&#x27;.mp4</title>" in text
    assert len(re.search(r'id="video">(.*?)</script>', text)[1]) > 1000
    assert sorted(path.name for path in page.parent.iterdir()) == sorted([NAME, "out", "page.html"])


def test_serve(out, monkeypatch, capsys):
    """Until Ctrl-C."""
    answers = []

    def serve_two_and_stop(server):
        address = f"http://127.0.0.1:{server.server_port}/"

        def ask():
            for name in ("", "video.mp4"):
                with urllib.request.urlopen(address + name) as answer:
                    answers.append(answer.read())

        browser = threading.Thread(target=ask)
        browser.start()
        server.timeout = 0.1
        while len(answers) < 2:
            server.handle_request()
        browser.join()
        raise KeyboardInterrupt

    monkeypatch.setattr(ThreadingHTTPServer, "serve_forever", serve_two_and_stop)
    viewer.main([str(out), "--port", "0"])
    assert capsys.readouterr().out.startswith("http://127.0.0.1:")
    page, video = answers
    assert b'id="video">/video.mp4<' in page and video[4:8] == b"ftyp"


def test_without_its_video_the_overlay_is_shown_or_none(out, tmp_path, capsys):
    content = json.loads((out / "results.json").read_text())
    content["video"]["path"] = str(tmp_path / "gone.mp4")
    assert viewer.prepare_video(content, tmp_path, tmp_path / "video.mp4") == (None, False)
    assert "is no longer there; the page has no video" in capsys.readouterr().err
    content["overlay"] = "overlay.mp4"
    width, height = content["video"]["width"], content["video"]["height"]
    picture, side = (np.full((height, width, 3), grey, np.uint8) for grey in (200, 20))
    with VideoWriter(tmp_path / "overlay.mp4", 30) as writer:
        writer.write(np.hstack([picture, side]), 0)
    path, drawn = viewer.prepare_video(content, tmp_path, tmp_path / "video.mp4")
    assert drawn and "the page shows the overlay video" in capsys.readouterr().err
    image = next(open_video(path).frames()).image()
    assert image.shape == picture.shape and image.min() > 150  # without the view from the side


def test_a_shorter_video_in_its_place_is_shown_to_its_end(out, tmp_path):
    content = json.loads((out / "results.json").read_text())
    content["video"]["frames"] = 5 * FRAMES
    video, _ = viewer.prepare_video(content, tmp_path, tmp_path / "video.mp4")
    assert len(list(open_video(video).frames())) == FRAMES


def test_attention_of_other_frames_is_refused(out, tmp_path):
    shutil.copy(out / "attention_1.npz", tmp_path / "attention_2.npz")
    person = moving_person(2, range(4, FRAMES))
    assert viewer.read_attention(out, [person]) == {}
    with pytest.raises(UserError, match="attention_2.npz does not have the frames"):
        viewer.read_attention(tmp_path, [person])


def test_results_without_people(tmp_path):
    content = json.dumps(contents([]))
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(UserError, match="nothing to show"):
        viewer.save_page(tmp_path, tmp_path / "page.html")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nowhere", "--port", "0"], "nowhere has no results.json"),
        (["OUT", "--save", "/nowhere/page.html"], "/nowhere/page.html cannot be written"),
        (["OUT", "--save", "/"], "/ is a directory"),
        (["OUT", "--port", "99999"], "port 99999 cannot be used"),
    ],
)
def test_mistakes_are_one_line_and_come_before_the_work(out, args, message, monkeypatch):
    monkeypatch.setattr(viewer, "prepare_video", None)  # a call would fail
    args = [str(out) if arg == "OUT" else arg for arg in args]
    with pytest.raises(SystemExit) as exit:
        run(viewer.main, args)
    assert message in exit.value.code and "\n" not in exit.value.code


def screenshot(element):
    import cv2

    data = np.frombuffer(element.screenshot(), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(int)


def blue(image):
    """Mask of the first person's colour."""
    return (image[..., 2] > image[..., 0] + 50) & (image[..., 2] > 80)


def until(condition):
    """Waits for something that the page does in a later frame."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_in_a_browser(page):
    """The mesh shows, follows the timeline and plays; no network requests, no errors."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        flags = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        tab = browser.new_page(viewport={"width": 900, "height": 560})
        said, asked = [], []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(page.as_uri())
        tab.wait_for_selector("body[data-ready]")
        room, film = tab.locator("#bodies"), tab.locator("#video_canvas")
        tab.wait_for_timeout(300)
        first = screenshot(room)
        assert blue(first).mean() > 0.005 and blue(screenshot(film)).mean() > 0.005
        assert tab.locator("#title").inner_text() == NAME

        assert tab.locator("#attention figure:visible").count() == 4
        tab.locator("#joints canvas").hover(position={"x": 5, "y": 5})
        assert tab.locator("#joints figcaption").inner_text().startswith("how much the joints")

        tab.locator("#time").fill("6")
        tab.wait_for_timeout(300)
        later = screenshot(room)
        assert tab.locator("#now").inner_text().startswith("frame 6 of 7")
        assert (blue(first) ^ blue(later)).mean() > 0.001
        tab.keyboard.press("ArrowLeft")
        until(lambda: tab.locator("#time").input_value() == "5")

        tab.get_by_role("button", name="person 2").click()
        until(lambda: tab.locator("#attention").is_hidden())  # no attention file
        tab.keyboard.press("End")  # works after a button was pressed, as does space
        until(lambda: tab.locator("#time").input_value() == "7")
        tab.keyboard.press(" ")
        until(lambda: tab.locator("#play").get_attribute("aria-label") == "Pause")
        tab.keyboard.press(" ")
        until(lambda: tab.locator("#play").get_attribute("aria-label") == "Play")

        tab.get_by_label("Show person 1").uncheck()
        tab.wait_for_timeout(300)
        assert blue(screenshot(room)).mean() < 0.0005
        tab.keyboard.press("Home")
        until(lambda: tab.locator("#time").input_value() == "0")
        tab.locator("#play").click()
        until(lambda: tab.locator("#time").input_value() != "0")
        tab.keyboard.press(" ")
        until(lambda: tab.locator("#play").get_attribute("aria-label") == "Play")

        seen = screenshot(room)
        tab.keyboard.press("c")  # from the video's camera
        until(lambda: np.abs(screenshot(room) - seen).mean() > 1)
        tab.keyboard.press("r")
        until(lambda: np.abs(screenshot(room) - seen).mean() < 0.1)
        tab.keyboard.press("f")
        assert tab.get_by_label("Follow").is_checked()

        before = tab.locator("#now").inner_text()
        time.sleep(0.3)
        assert tab.locator("#now").inner_text() == before
        assert int(tab.locator("#time").get_attribute("max")) == FRAMES - 1
        browser.close()
    assert said == [] and all(url.startswith(("file:", "blob:")) for url in asked)
