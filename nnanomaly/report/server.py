"""A report over HTTP for this machine alone: loopback, a random port and token, listed files only."""

import hmac
import secrets
import sys
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from nnanomaly.report.pages import CONTENT_POLICY
from nnanomaly.utilities.faults import keep_traceback, traceback_text

LOOPBACK = "127.0.0.1"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}


class ReportServer(ThreadingHTTPServer):
    """Serves some files under `/{token}/...`. Port 0 lets the system choose a free one."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, files: Mapping[str, Path]) -> None:
        """`files`: what a browser may ask for, such as "/index.html", and where it lies."""
        self.files = dict(files)
        self.token = secrets.token_urlsafe(24)
        super().__init__((LOOPBACK, 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that goes away is no fault, and no traceback belongs into the terminal; the log has the others."""
        error = sys.exc_info()[1]
        if isinstance(error, Exception) and not isinstance(error, (ConnectionError, TimeoutError)):
            keep_traceback(traceback_text(error))

    @property
    def hosts(self) -> set[str]:
        """Host headers that are answered: another one means that a foreign name was made to point here."""
        return {f"{name}:{self.server_port}" for name in (LOOPBACK, "localhost")}

    def address(self, path: str = "/index.html") -> str:
        """Address to open, with the token."""
        return urlunsplit(("http", f"{LOOPBACK}:{self.server_port}", f"/{self.token}{path}", "", ""))


class _Handler(BaseHTTPRequestHandler):
    server: ReportServer
    server_version = "nnanomaly"
    timeout = 30
    """Seconds after which a connection that says nothing is closed, and its thread ends."""
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with a listed file, or with a status."""
        if self.headers.get("Host") not in self.server.hosts:
            return self._refuse(HTTPStatus.FORBIDDEN)
        token, path = _split(self.path)
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            return self._refuse(HTTPStatus.FORBIDDEN)
        file = self.server.files.get(path)
        if file is None or not file.is_file():
            return self._refuse(HTTPStatus.NOT_FOUND)
        self._send(HTTPStatus.OK, file.read_bytes(), TYPES[file.suffix])

    def _refuse(self, status: HTTPStatus) -> None:
        self._send(status, f"{status.value} {status.phrase}\n".encode(), TYPES[".txt"])

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", f"{CONTENT_POLICY}; frame-ancestors 'none'")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: every address holds the token."""


def _split(address: str) -> tuple[str, str]:
    """`/token/cases/0001.html?x` -> ("token", "/cases/0001.html")."""
    token, _, path = unquote(urlsplit(address).path).removeprefix("/").partition("/")
    return token, f"/{path}"
