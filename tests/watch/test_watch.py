"""nopage watch: the page in headless Chromium, and who may ask the server (issue 5, line 7)."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from machine.watch.server import Server, View
from tests.conftest import build
from tests.report.browser import CHROMIUM, PATIENCE, Browser

HERE = Path(__file__).parent
TOP = HERE.parents[1]


# -- the page ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (apt install chromium)")
    with Browser() as made:
        yield made


class Watched:
    """``nopage watch`` with a page on it."""

    def __init__(self, browser: Browser, *words: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(TOP)}
        command = [sys.executable, "-m", "machine", "watch", *words]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        assert self.process.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", self.process.stderr.readline())
        assert found is not None
        self.url = found[0]
        self.browser = browser
        browser.errors.clear()
        browser.call("Page.navigate", url=self.url)
        browser.wait("document.documentElement?.dataset.ready !== undefined")

    def type(self, text: str) -> None:
        for key in text:
            self.browser.key(key)
        self.browser.key("Enter")

    def leave(self) -> int:
        """Close the page: nopage ends with the program's status.  Nothing but the server was asked for anything."""
        self.browser.call("Page.navigate", url="about:blank")
        status = self.process.wait(PATIENCE)
        assert self.process.stderr is not None
        self.process.stderr.close()
        fine = (f"asked the network for {self.url}", "asked the network for about:blank", "Canvas2D: Multiple readback")
        assert [each for each in self.browser.errors if not each.startswith(fine)] == []
        return status


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_the_page(browser: Browser, target: str) -> None:
    """Pixels, keys, output, registers and memory of a compiled program.  # C8, F2, F4"""
    program = str(build(HERE / "canvas.c", target=target))
    page = Watched(browser, "--device", "fb", program)
    browser.wait("document.querySelector('#terminal').innerText.includes('on /dev/pts/0')")
    browser.wait("document.querySelector('#screen').width === 60")
    shown = browser.wait(
        "(() => { const d = document.querySelector('#screen').getContext('2d').getImageData(0, 0, 60, 40).data;"
        " return d[0] === 77 && d[4 * 2399] === 77 ? [...d] : null; })()"
    )
    assert shown == [part for y in range(40) for x in range(60) for part in (77, y, x, 255)]

    page.type("f\u00fcnf <b>")
    browser.wait("document.querySelector('#terminal').innerText.includes('got (f\u00fcnf <b>)')")
    assert "<img src=x onerror" in browser.text("#terminal")  # what a guest says is text
    assert browser.js("document.querySelectorAll('#terminal img, #terminal b').length") == 0
    assert browser.js("document.title") == f"{program}: running \u2013 nopage"

    row = browser.js(
        "[...document.querySelector('[data-register=\"display@fcc00000/width\"]').cells].map(c => c.textContent)"
    )
    assert (
        row[:4] == ["0x014", "width", "rw", "0000003c"] and int(row[4]) >= 1 and row[5].startswith("pid 2 wrote 0x3c")
    )
    memory = browser.js(
        "[...document.querySelector('#map').rows]"
        ".map(row => [...row.cells].map(cell => cell.textContent.replaceAll('\\u00a0', ' ')))"
    )
    with Machine(devices=["fb"]) as m:
        expected = m.read_file("/proc/iomem").decode().splitlines()
    assert [f"{cells[0]} : {cells[1]}" for cells in memory] == expected
    notes = {cells[1]: cells[2] for cells in memory}
    assert re.fullmatch(r"[1-9]\d*\.\d of 511\.0 MiB used", notes["System RAM"])
    assert (
        notes["0000:01:00.0"].startswith("registers of display, ")
        and browser.js("document.querySelectorAll('#map canvas').length") == 2
    )

    page.type("bye")
    browser.wait("document.querySelector('#state').textContent.endsWith('ended with status 7')")
    assert page.leave() == 7


def test_a_shell_on_it(browser: Browser) -> None:
    """Job control and Ctrl-C from the page; a full-screen program; no page, no program."""
    page = Watched(browser, "sh")
    terminal = "document.querySelector('#terminal').innerText"
    page.type("sleep 1000")
    browser.wait("document.querySelector('#tasks').textContent.includes(' sleep sleeps')")  # not `sh sleeps`
    browser.js(
        "document.querySelector('#terminal').dispatchEvent(new KeyboardEvent('keydown', {key: 'c', ctrlKey: true}))"
    )
    page.type("echo after $?")
    browser.wait(f"{terminal}.includes('after 130')")
    page.type("stty size; tty; echo $TERM")
    browser.wait(f"{terminal}.includes('24 80\\n/dev/pts/0\\nansi')")
    page.type("printf '\\033[2J\\033[Habc\\033[5;3Hxyz\\033[1;2H\\033[K\\033[7;1H'")
    browser.wait(f"{terminal}.startsWith('a\\n\\n\\n\\n  xyz\\n\\n# ')")
    too_much = "\\033[24L\\033[9999999999999@\\033[9999999999999L"
    page.type(f"clear; i=0; while [ $((i+=1)) -le 200 ]; do printf '{too_much}'; done; echo fits")
    browser.wait(f"{terminal}.includes('fits')")
    assert browser.js("terminal.lines.length < 100 && terminal.lines.every(line => line.length <= 80)")
    page.type("exit 3")
    browser.wait("document.querySelector('#state').textContent.endsWith('ended with status 3')")
    assert page.leave() == 3


# -- who may ask ---------------------------------------------------------------------------------------------


@pytest.fixture
def served() -> Iterator[tuple[Server, list[bytes]]]:
    keys: list[bytes] = []
    server = Server(View(), keys.append)
    yield server, keys
    server.close()


def ask(server: Server, method: str, path: str, body: Any = None, **headers: str) -> HTTPResponse:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    if body is not None and "Content_Length" not in headers:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    if path.endswith("/events") and answer.status == 200:
        return answer
    answer.body = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


def test_the_page_alone_is_let_in(served: tuple[Server, list[bytes]]) -> None:
    server, keys = served
    page = f"/{server.token}/"
    own = f"http://127.0.0.1:{server.port}"
    good = ask(server, "GET", page)
    assert good.status == 200 and b"<canvas" in good.body  # type: ignore[attr-defined]
    policy = good.headers["Content-Security-Policy"]
    nonce = re.findall(rb'nonce="([^"]+)"', good.body)  # type: ignore[attr-defined]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "unsafe" not in policy
    assert len(nonce) == 2 and f"script-src 'nonce-{nonce[0].decode()}'" in policy
    again = ask(server, "GET", page)
    assert again.headers["Content-Security-Policy"] != policy
    assert not re.search(rb'(src|href)="(?!data:,")', good.body)  # type: ignore[attr-defined]
    assert ask(server, "POST", page + "keys", b"ls\r", Origin=own).status == 204 and keys == [b"ls\r"]
    assert ask(server, "GET", page, Host=f"localhost:{server.port}").status == 200

    wrong = [
        ask(server, "GET", "/"),
        ask(server, "GET", page[:-1]),
        ask(server, "GET", f"/{'x' * len(server.token)}/"),
        ask(server, "GET", "/%ff%00/events"),
        ask(server, "GET", page, Host="evil.example"),
        ask(server, "GET", page, Host=f"evil.example:{server.port}"),
        ask(server, "GET", page + "events", Origin="http://evil.example"),
        ask(server, "GET", page + "events", Origin="null"),
        ask(server, "GET", page + "events", Sec_Fetch_Site="cross-site"),
        ask(server, "GET", page + "events", Sec_Fetch_Site="same-site"),
        ask(server, "POST", page + "keys", b"x"),
        ask(server, "POST", page + "keys", b"x", Origin="http://evil.example"),
        ask(server, "POST", page + "keys", b"x", Origin=f"https://127.0.0.1:{server.port}"),
        ask(server, "POST", "/wrong/keys", b"x", Origin=own),
    ]
    assert [each.status for each in wrong] == [403] * len(wrong)
    assert ask(server, "GET", page + "other").status == ask(server, "POST", page + "x", b"", Origin=own).status == 404
    assert ask(server, "POST", page + "keys", b"", Origin=own, Content_Length="65537").status == 413
    assert ask(server, "OPTIONS", page).status == 501
    for answer in (good, *wrong):
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
        assert server.token.encode() not in answer.body  # type: ignore[attr-defined]
    assert keys == [b"ls\r"]


def test_only_this_computer(served: tuple[Server, list[bytes]]) -> None:
    """Not on the other addresses of the computer; the token is another each time."""
    server, _ = served
    assert server._http.server_address[0] == "127.0.0.1"
    other = Server(View(), lambda data: None)
    assert other.token != server.token and len(server.token) == 32
    other.close()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", other.port), 5).close()


def test_events(served: tuple[Server, list[bytes]]) -> None:
    """What is there, then what changes; what is the same again is not sent; who comes later gets the last state."""
    server, _ = served
    server.view.put("state", {"text": "first"})
    server.view.add_output(b"x" * 300_000 + b"end")
    stream = ask(server, "GET", f"/{server.token}/events")

    def lines(count: int) -> list[str]:
        found: list[str] = []
        while len(found) < count:
            line = stream.readline().decode().strip()
            if line and line != ":":
                found.append(line)
        return found

    assert lines(4) == ["event: hello", "data: null", "event: state", 'data: {"text": "first"}']
    event, data = lines(2)
    assert event == "event: output" and data.endswith('eGVuZA=="') and len(data) == 8 + (1 << 18) // 3 * 4 + 4
    assert server.view.viewers == 1
    server.view.put("state", {"text": "first"})
    server.view.put("state", {"text": "</script>"})
    assert lines(2) == ["event: state", 'data: {"text": "</script>"}']
    server.view.close()
    assert lines(2) == ["event: over", "data: null"]
    stream.close()


def test_mistakes() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for words, why in (
            (("--port", "70000", "hello"), "'70000' is not a port"),
            (("--deterministic", "hello"), "watch can't be --deterministic"),
            ((), "no program given"),
            (("--port", port, "hello"), f"watch --port {port}: Address already in use"),
        ):
            command = [sys.executable, "-m", "machine", "watch", *words]
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
            assert done.returncode in (2, 125) and why in done.stderr


def test_without_a_page() -> None:
    """--now: at once, and over with the program."""
    command = [sys.executable, "-m", "machine", "watch", "--now", "sh", "-c", "echo unseen; exit 4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 4 and done.stdout == "" and "http://127.0.0.1:" in done.stderr
