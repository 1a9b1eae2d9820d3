import html.parser

from maed_jax.visual.index_page import page, write_page


def content(**changes):
    people = [
        {"id": i, "file": f"person_{i}.npz", "frames": 3, "first_frame": i, "last_frame": i + 2,
         "detected": 2}
        for i in (1, 12)
    ]  # fmt: skip
    return {
        "format": 1,
        "video": {"path": "/a/<b>&\"c.mp4", "width": 64, "height": 48, "fps": 25.0, "frames": 20,
                  "announced_frames": 20, "damaged_frames": [3]},
        "model": {"maed_jax": "0", "body": "mannequin", "checkpoint": "/w/<x>"},
        "boxes": {"detector": "hog"}, "overlay": "overlay.mp4", "smoothed": False,
        "one_shape": True, "attention": ["attention_1.mp4"],
        "exports": ["person_1.glb", "person_12.glb", "person_1_obj"],
        "people": people, "people_in_frame": [[1], [1, 12], [1, 12], [12], *[[]] * 16],
    } | changes  # fmt: skip


class Reader(html.parser.HTMLParser):
    """Collects links, and checks that tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.text = [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.links += [value for name, value in attributes if name in ("href", "src")]

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_everything_is_linked_and_nothing_is_fetched():
    reader = Reader(page(content()))
    assert sorted(reader.links) == sorted([
        "overlay.mp4", "person_1.npz", "person_12.npz", "person_1.glb", "person_12.glb",
        "person_1_obj/", "results.json", "attention_1.mp4",
    ])  # fmt: skip
    assert "http" not in page(content()).replace("http-equiv", "")
    assert "2 people, seen in 4 of 20" in reader.text


def test_names_are_escaped():
    text = page(content())
    assert "<b>" not in text and "<x>" not in text
    assert '<b>&"c.mp4' in Reader(text).text and "/w/<x>" in Reader(text).text


def test_names_that_are_not_unicode_are_shown_as_far_as_they_are(tmp_path):
    video = content()["video"] | {"path": "/a/caf\udce9.mp4"}
    write_page(tmp_path / "a.html", content(video=video))
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<h1>caf?.mp4</h1>" in text and "/a/caf?.mp4" in Reader(text).text


def test_bars_show_when_people_are_there():
    text = page(content())
    assert '<rect x="0.00" width="150.00"' in text and '<rect x="50.00" width="150.00"' in text


def test_a_still_and_no_overlay():
    assert "overlay.jpg" in Reader(page(content(overlay="overlay.jpg"))).links
    assert "No overlay was drawn" in page(content(overlay=None))
