"""AF_UNIX sockets (MECHANISMS E3), natively first: names, connections, messages, descriptors in messages, waiting.

Interpreters that live on socket pairs run here and on the host with the same output.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from machine import Machine

HERE = Path(__file__).parent / "sockets"
PROGRAMS = sorted(path.stem for path in HERE.glob("*.c"))
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/", "LC_ALL": "C"}


@pytest.mark.parametrize("target", ["x86_64", "i386"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_static(guest: Callable[..., object], program: str, target: str) -> None:
    guest(HERE / f"{program}.c", target=target)  # E3


ASYNCIO = """
import asyncio, tempfile

async def serve(reader, writer):
    async for line in reader:
        writer.write(line.upper())
    writer.close()

async def main():
    where = tempfile.mkdtemp() + "/server"
    server = await asyncio.start_unix_server(serve, where)
    reader, writer = await asyncio.open_unix_connection(where)
    writer.write(b"one\\ntwo\\n")
    print(await reader.readline(), await reader.readline())
    writer.close()
    process = await asyncio.create_subprocess_exec("tr", "a-z", "A-Z", stdin=-1, stdout=-1)
    print(await process.communicate(b"through a child"))
    print(await asyncio.gather(*(asyncio.to_thread(pow, 2, n) for n in range(5))))
    server.close()

asyncio.run(main())
"""
MULTIPROCESSING = """
import multiprocessing as m, tempfile
from multiprocessing.connection import Client, Listener

def work(pipe, where):
    pipe.send(sum(pipe.recv()))
    with Client(where, authkey=b"secret") as c:
        c.send({"from": "child"})

if __name__ == "__main__":
    m.set_start_method("{method}")
    where = tempfile.mkdtemp() + "/listener"
    with Listener(where, authkey=b"secret") as listener:
        here, there = m.Pipe()
        child = m.Process(target=work, args=(there, where))
        child.start()
        here.send(list(range(1000)))
        print(here.recv())
        with listener.accept() as c:
            print(c.recv())
        child.join()
        print(child.exitcode)
    with m.Pool(2) as pool:
        print(pool.map(abs, range(-5, 0)))
"""
PASSING = """
import array, os, socket
a, b = socket.socketpair()
if not os.fork():
    r, w = os.pipe()
    os.write(w, b"in the pipe")
    socket.send_fds(a, [b"here"], [r])
    os._exit(0)
os.wait()
data, fds, flags, _ = socket.recv_fds(b, 10, 4)
print(data, len(fds), flags, os.read(fds[0], 20))
"""
SCRIPTS = {
    "asyncio": ASYNCIO,
    "multiprocessing-fork": MULTIPROCESSING.replace("{method}", "fork"),
    "multiprocessing-spawn": MULTIPROCESSING.replace("{method}", "spawn"),
    "descriptors": PASSING,
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_python(machine_clean: Callable[..., Machine], tmp_path: Path, name: str) -> None:
    """E3: what Debian's python3 builds on socket pairs and AF_UNIX."""
    program = shutil.which("python3", path=ENVIRONMENT["PATH"])
    if program is None:
        pytest.skip("python3 is not installed")
    script = tmp_path / "script.py"
    script.write_text(SCRIPTS[name])
    here = subprocess.run(
        [program, str(script)], env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
    )
    assert (here.returncode, here.stderr) == (0, b"")
    machine = machine_clean(env=ENVIRONMENT, binds=[(str(tmp_path), str(tmp_path), False)], check_invariants=False)
    there = machine.run([program, str(script)], timeout=200)
    assert (there.stdout, there.exit) == (here.stdout, 0), there.stderr.decode()
