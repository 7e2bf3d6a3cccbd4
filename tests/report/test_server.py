import http.client
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nnanomaly.report import server as module
from nnanomaly.report.server import ReportServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ReportServer]:
    (tmp_path / "index.html").write_text("<p>hello", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    with ReportServer({"/index.html": tmp_path / "index.html"}) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def _get(server: ReportServer, path: str, host: str | None = None) -> tuple[int, str, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
    connection.endheaders()
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body, response.headers


def test_a_listed_file_is_served_with_its_policy_to_who_knows_the_token(server: ReportServer) -> None:
    status, body, headers = _get(server, f"/{server.token}/index.html")
    assert (status, body) == (200, "<p>hello")
    assert "connect-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("path", ["/index.html", "/wrong/index.html", "/", "/%C3%A9/index.html"])
def test_a_wrong_token_is_refused(server: ReportServer, path: str) -> None:
    assert _get(server, path)[0] == 403


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1", "localhost:1"])
def test_a_foreign_host_is_refused(server: ReportServer, host: str) -> None:
    assert _get(server, f"/{server.token}/index.html", host)[0] == 403


@pytest.mark.parametrize("path", ["/secret.txt", "/../secret.txt", "/%2e%2e/%2e%2e/etc/passwd", "/", "//etc/passwd"])
def test_what_is_not_listed_is_not_served_and_no_folder_is_listed(server: ReportServer, path: str) -> None:
    status, body, _ = _get(server, f"/{server.token}{path}")
    assert status == 404
    assert "secret" not in body


def test_a_browser_that_goes_away_leaves_no_traceback_and_the_server_goes_on(
    server: ReportServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "index.html").write_bytes(b"x" * 50_000_000)
    request = f"GET /{server.token}/index.html HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n"
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.server_port)) as gone:
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closed by a reset
            gone.sendall(request.encode())
            gone.recv(10)
    (tmp_path / "index.html").write_text("<p>hello")
    assert _get(server, f"/{server.token}/index.html")[0] == 200
    time.sleep(0.5)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_connection_that_says_nothing_is_closed(server: ReportServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module._Handler, "timeout", 0.2)
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as silent:
        assert silent.recv(1) == b""
