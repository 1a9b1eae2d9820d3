"""Serves the viewer's page and its video to a browser on this machine."""

from __future__ import annotations

import re
import shutil
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from maed_jax.errors import UserError, reason

VIDEO = "/video.mp4"


class Handler(BaseHTTPRequestHandler):
    """Serves two paths: the page at /, and the video at /video.mp4, with range requests."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        try:
            if self.path == "/":
                self._head(200, "text/html; charset=utf-8", len(self.server.page))
                self.wfile.write(self.server.page)
            elif self.path == VIDEO and self.server.video is not None:
                self._send_video(self.server.video)
            else:
                self.send_error(404)
        except (BrokenPipeError, ConnectionResetError):  # the browser has cancelled
            self.close_connection = True

    def _send_video(self, video: Path) -> None:
        size = video.stat().st_size
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if match is None:
            start, end, status = 0, size, 200
        else:
            start = int(match[1])
            end, status = min(int(match[2]) + 1 if match[2] else size, size), 206
        if start >= end:
            self.send_error(416)
            return
        with open(video, "rb") as file:
            file.seek(start)
            extra = {"Accept-Ranges": "bytes"}
            if status == 206:
                extra["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
            self._head(status, "video/mp4", end - start, extra)
            if end == size:
                shutil.copyfileobj(file, self.wfile)
            else:
                self.wfile.write(file.read(end - start))

    def _head(self, status: int, kind: str, length: int, extra: dict[str, str] | None = None):
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(length), "Cache-Control": "no-store"}
        for name, value in (headers | (extra or {})).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):  # successful requests are not worth a line
        pass


class Server(ThreadingHTTPServer):
    """Binds its port at construction; set `page` and `video` before serving."""

    daemon_threads = True
    page: bytes
    video: Path | None


def make_server(port: int) -> Server:
    """Returns a server on the loopback address; call its `serve_forever`. Port 0: any free one.

    Raises:
      UserError: the port is in use, or not allowed.
    """
    try:
        return Server(("127.0.0.1", port), Handler)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"port {port} cannot be used ({reason(error)}); choose another with --port"
        ) from None
