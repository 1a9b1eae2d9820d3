import http.client
import threading

import pytest

from maed_jax.errors import UserError
from maed_jax.visual.viewer_server import VIDEO, make_server


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    video = tmp_path_factory.mktemp("video") / "video.mp4"
    video.write_bytes(bytes(range(100)))
    with make_server(0) as server:
        server.page, server.video = "<p>ä</p>".encode(), video
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def get(port, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, answer.headers


def test_page_and_video(port):
    status, body, headers = get(port, "/")
    assert (status, body.decode()) == (200, "<p>ä</p>")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert get(port, VIDEO)[:2] == (200, bytes(range(100)))


@pytest.mark.parametrize(
    ("asked", "status", "sent", "said"),
    [
        ("bytes=10-19", 206, bytes(range(10, 20)), "bytes 10-19/100"),
        ("bytes=90-", 206, bytes(range(90, 100)), "bytes 90-99/100"),
        ("bytes=90-500", 206, bytes(range(90, 100)), "bytes 90-99/100"),
        ("bytes=0-0", 206, b"\0", "bytes 0-0/100"),
        ("lines=1-2", 200, bytes(range(100)), None),
    ],
)
def test_ranges_of_the_video(port, asked, status, sent, said):
    answer = get(port, VIDEO, Range=asked)
    assert answer[:2] == (status, sent) and answer[2]["Content-Range"] == said


@pytest.mark.parametrize("path", ["/../setup.py", "/etc/passwd", "/video.mp4/..", "/?"])
def test_nothing_else_is_served(port, path):
    assert get(port, path)[0] == 404


def test_a_range_behind_the_end(port):
    assert get(port, VIDEO, Range="bytes=100-")[0] == 416


def test_a_port_that_is_taken(port):
    for wrong in (port, 70000):
        with pytest.raises(UserError, match=f"port {wrong} cannot be used"):
            make_server(wrong)
