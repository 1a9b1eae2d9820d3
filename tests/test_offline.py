"""The network guard that `conftest.py` installs for all tests."""

import socket
import urllib.request

import offline
import pytest


@pytest.fixture
def forgiven():
    yield
    offline.reached.clear()


@pytest.mark.parametrize("host", ["example.org", "192.0.2.1"])
def test_network_access_is_blocked_and_recorded(host, forgiven):
    with pytest.raises(offline.NetworkError, match=host):
        socket.create_connection((host, 80), timeout=1)
    assert offline.reached and host in offline.reached[0]


def test_so_is_access_whose_errors_are_swallowed(forgiven):
    try:
        urllib.request.urlopen("http://example.org", timeout=1)
    except Exception:
        pass
    assert offline.reached


def test_the_loopback_is_allowed():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
        socket.create_connection(("localhost", server.getsockname()[1]), timeout=5).close()
    assert not offline.reached
