"""--gdb's port: pages of the browser reach it, too."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import build

TOP = Path(__file__).parents[2]


def framed(data: bytes) -> bytes:
    return b"$%s#%02x" % (data, sum(data) & 0xFF)


POST = (
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\nContent-Type: text/plain\r\n\r\n"
    + b"".join(map(framed, (b"qSupported:multiprocess+", b"?", b"vKill;2", b"k")))
)


def heard(port: int, *said: bytes) -> list[bytes]:
    """What comes back for each; b"" at the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as stream:
        answers = []
        for each in said:
            try:
                stream.sendall(each)
                answers.append(stream.recv(65536))
                while answers[-1] and b"#" not in answers[-1][:-2]:  # the "+" alone
                    answers[-1] += stream.recv(65536)
            except ConnectionError:  # closed with bytes that nobody has read
                answers.append(b"")
        return answers


@pytest.mark.parametrize("wait", ["", ",nowait"])
def test_who_speaks_http_is_turned_away(wait: str) -> None:
    """No packet in a POST is obeyed, nothing stops; gdb and lldb are answered as ever, until they speak HTTP."""
    program = build("#include <unistd.h>\nint main(void) { sleep(600); return 0; }\n")
    command = [sys.executable, "-m", "machine", "run", "--timeout", "100", f"--gdb=0{wait}", str(program)]
    with subprocess.Popen(command, cwd=TOP, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = re.search(r"127\.0\.0\.1:(\d+)", process.stderr.readline())
            assert found is not None
            port = int(found[1])
            assert heard(port, POST) == heard(port, b"\x16\3\1" + POST) == [b""]
            for opening in (b"+" + framed(b"qC"), framed(b"qC"), b"\x03" + framed(b"qC")):
                assert framed(b"QC2") in heard(port, opening)[0]
            assert heard(port, b"+" + framed(b"qC") + b"+", POST)[1] == b""
            assert process.poll() is None
        finally:
            process.kill()
