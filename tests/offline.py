"""Detects and blocks network access from Python, except to this machine's own address."""

import ipaddress
import socket
import sys

reached: list[str] = []
"""attempts since the test began"""


class NetworkError(RuntimeError):
    """Not an OSError, which code that uses the network would handle."""


def _local(host) -> bool:
    if host in (None, "", b"", "localhost", b"localhost", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(host if isinstance(host, str) else host.decode()).is_loopback
    except ValueError:
        return False


def _audit(event: str, arguments: tuple) -> None:
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if not _local(host):
        reached.append(f"{event} {host}")
        raise NetworkError(f"tried to use the network: {event} {host}")


sys.addaudithook(_audit)
