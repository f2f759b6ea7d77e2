"""The page's server: on the loopback interface, for who knows the token in its address.

Any program and any web page on this computer can reach the port.  So each request must have the token in its path
and name the server as its Host (else a web page whose own name leads to 127.0.0.1 could ask); one that says its
Origin must come from the page itself.  There is no CORS header, and the page may load nothing and ask nobody else.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Optional

from machine.screen.files import to_png

KEYS_AT_ONCE = 65536
"""Bytes of one request with keys."""
OUTPUT_KEPT = 1 << 18
"""Bytes of the terminal's output that a page which is opened later still gets."""
HEARTBEAT_SECONDS = 1.0
"""A page that has gone is noticed when something is sent."""
PAGE = Path(__file__).with_name("watch.html")


class View:
    """What the pages see: parts with versions, and the terminal's output.  Every method from any thread."""

    def __init__(self) -> None:
        self.viewers = 0
        self._changed = threading.Condition()
        self._parts: dict[str, tuple[int, Any]] = {}
        self._version = 0
        self._output = b""
        self._output_start = 0
        """Where in all output `_output` begins."""
        self._closed = False

    def put(self, name: str, content: Any) -> None:
        """A part's new content; nothing happens when it is the old one."""
        with self._changed:
            if name in self._parts and self._parts[name][1] == content:
                return
            self._version += 1
            self._parts[name] = (self._version, content)
            self._changed.notify_all()

    def add_output(self, data: bytes) -> None:
        """Programs have written to the terminal."""
        if not data:
            return
        with self._changed:
            kept = self._output + data
            self._output = kept[-OUTPUT_KEPT:]
            self._output_start += len(kept) - len(self._output)
            self._version += 1
            self._changed.notify_all()

    def news(self, seen: int, read: int) -> tuple[int, int, bytes, dict[str, Any], bool]:
        """Wait a while for what is newer than version `seen` and behind byte `read` of the output:
        (version, end of the output, output, parts, whether it is all over)."""
        with self._changed:
            if self._version == seen and not self._closed:
                self._changed.wait(HEARTBEAT_SECONDS)
            parts = {name: content for name, (version, content) in self._parts.items() if version > seen}
            output = self._output[max(0, read - self._output_start) :]
            return self._version, self._output_start + len(self._output), output, parts, self._closed

    def joined(self, change: int) -> None:
        """A page came (1) or went (-1)."""
        with self._changed:
            self.viewers += change
            self._changed.notify_all()

    def wait_for_viewers(self, seconds: float) -> None:
        """Until there is one, at most `seconds`."""
        with self._changed:
            if not self.viewers:
                self._changed.wait(seconds)

    def close(self) -> None:
        """Nothing will come any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Server:
    """Serves until `close`; `url` has the token.  OSError: the port can't be had."""

    def __init__(self, view: View, on_keys: Callable[[bytes], None], port: int = 0) -> None:
        self.view = view
        self.on_keys = on_keys
        self.token = secrets.token_urlsafe(24)
        self._http = _Http(("127.0.0.1", port), _Handler)
        self._http.owner = self
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/{self.token}/"
        self.hosts = (f"127.0.0.1:{self.port}", f"localhost:{self.port}")
        self.origins = tuple(f"http://{host}" for host in self.hosts)
        threading.Thread(target=self._http.serve_forever, args=(0.1,), daemon=True).start()

    def close(self) -> None:
        """Pages are told, the port is free again."""
        self.view.close()
        self._http.shutdown()
        self._http.server_close()


class _Http(ThreadingHTTPServer):
    owner: Server
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle is nothing to report."""


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    timeout = 60
    server_version = "nopage"
    sys_version = ""

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not news."""

    def do_GET(self) -> None:
        path = self._allowed()
        if path == "":
            self._page()
        elif path == "events":
            self._events()
        elif path is not None:
            self._refuse(404, "there is no such thing")

    def do_POST(self) -> None:
        path = self._allowed()
        if path is None:
            return
        length = self.headers.get("Content-Length", "")
        if path != "keys":
            self._refuse(404, "there is no such thing")
        elif self.headers.get("Origin") is None:
            self._refuse(403, "keys come from the page")
        elif not length.isdecimal() or int(length) > KEYS_AT_ONCE:
            self._refuse(413, f"at most {KEYS_AT_ONCE} bytes at once")
        else:
            self.server.owner.on_keys(self.rfile.read(int(length)))
            self._head(204)

    # -- who may ask -------------------------------------------------------------------------------

    def _allowed(self) -> Optional[str]:
        """What is asked for behind the token; None after a refusal."""
        owner = self.server.owner
        _, token, *rest = self.path.split("/", 2) if self.path.startswith("/") else ("", "")
        right = hmac.compare_digest(token.encode(errors="replace"), owner.token.encode())
        hosts, origins = self.headers.get_all("Host", []), self.headers.get_all("Origin", [])
        foreign = any(origin not in owner.origins for origin in origins)
        foreign = foreign or self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")
        if len(hosts) != 1 or hosts[0] not in owner.hosts:
            self._refuse(403, "another host is meant")
        elif foreign:
            self._refuse(403, "another page asks")
        elif not right or not rest:
            self._refuse(403, "the address that nopage has printed is longer")
        else:
            return rest[0]
        return None

    # -- answers -----------------------------------------------------------------------------------

    def _head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        usual = {
            "Cache-Control": "no-store",
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        }
        for name, value in {**usual, **{name.replace("_", "-"): value for name, value in headers.items()}}.items():
            self.send_header(name, value)
        self.end_headers()

    def _refuse(self, status: int, why: str) -> None:
        body = f"nopage: {why}\n".encode()
        self._head(status, Content_Type="text/plain; charset=utf-8", Content_Length=str(len(body)))
        self.wfile.write(body)

    def _page(self) -> None:
        nonce = secrets.token_urlsafe(16)
        body = PAGE.read_text().replace("@@nonce@@", nonce).encode()
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        self._head(200, Content_Type="text/html; charset=utf-8", Content_Length=str(len(body)),
                   Content_Security_Policy=policy)  # fmt: skip
        self.wfile.write(body)

    def _events(self) -> None:
        """Server-sent events, until the page or the machine has gone."""
        view = self.server.owner.view
        self._head(200, Content_Type="text/event-stream")
        view.joined(1)
        try:
            self._send("hello", None)
            seen, read, over = -1, 0, False
            while not over:
                seen, read, output, parts, over = view.news(seen, read)
                for name, content in parts.items():
                    if name == "screen":
                        content = [content.width, content.height, base64.b64encode(to_png(content)).decode()]
                    self._send(name, content)
                if output:
                    self._send("output", base64.b64encode(output).decode())
                self.wfile.write(b":\n\n")
            self._send("over", None)
        except OSError:
            pass  # the page was closed
        finally:
            view.joined(-1)

    def _send(self, name: str, content: Any) -> None:
        self.wfile.write(f"event: {name}\ndata: {json.dumps(content)}\n\n".encode())
