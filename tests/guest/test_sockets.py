"""AF_UNIX sockets (MECHANISMS E3), natively first: names, connections, messages, descriptors in messages, waiting.

Interpreters that live on socket pairs run here and on the host with the same output.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from machine import Machine
from machine.events import SyscallExit
from machine.kernel.fs.file import file
from machine.kernel.net.sock import TCP_LISTEN
from machine.kernel.net.socket import socket_operations
from machine.kernel.net.table import UnixTable
from machine.kernel.net.unix import unix_sock
from tests.conftest import build

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


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_sockets_passed_in_a_loop(
    guest: Callable[..., object], machine_clean: Callable[..., Machine], target: str
) -> None:
    """E3: the collector of sockets in flight finds all that nobody can receive, at the very close, and its work is some
    steps a close however many sockets are in flight: twice as many are twice the work, not four times."""
    source = HERE.parent / "sockets_passed.c"
    guest(source, ["50"], target=target)
    program = str(build(source, target=target))
    work = []
    for count in (100, 200):
        machine = machine_clean(binds=[(program, program, False)], check_invariants=False)
        unix = machine.kernel.unix
        most = 0

        def on_call(call: object, unix: UnixTable = unix) -> None:
            nonlocal most
            most = max(most, len(unix.inflight))

        machine.events.listen("syscall_exit", on_call)
        assert machine.run([program, str(count)]).exit == 0
        assert (unix.inflight, unix.tot_inflight, unix.sockets) == ({}, 0, {})
        assert count <= most <= count + 4  # and no more than one circle
        work.append(unix.gc_steps)
    assert work[1] < 2.2 * work[0] and work[0] < 100 * 40


def _unreachable(unix: UnixTable) -> set[object]:
    """The files in flight that nobody can receive, by way of all that somebody can."""
    reached, new = set(), [sk for sk in unix.sockets if sk.file is not None and _external(unix, sk.file)]
    while new:
        sk = new.pop()
        if sk in reached:
            continue
        reached.add(sk)
        for skb in sk.queue:
            inside = [skb.sk] if sk.sk_state == TCP_LISTEN else [each.private_data for each in skb.files]
            new += [each for each in inside if isinstance(each, unix_sock)]
    return {filp for filp in unix.inflight if filp.private_data not in reached}


def _external(unix: UnixTable, filp: file) -> bool:
    flight = unix.inflight.get(filp)
    return filp.f_count > (0 if flight is None else flight.count)


def _explained(unix: UnixTable) -> dict[object, int]:
    """File -> how many messages hold it, counted anew."""
    found: Counter[object] = Counter()
    for sk in unix.sockets:
        if sk.sk_state != TCP_LISTEN:
            found.update(each for skb in sk.queue for each in skb.files if each.f_op is socket_operations)
    return dict(found)


@pytest.mark.parametrize(("target", "seed"), [("x86_64", 1), ("x86_64", 2), ("x86_64", 3), ("i386", 4)])
def test_wild_circles(
    guest: Callable[..., object], machine_clean: Callable[..., Machine], target: str, seed: int
) -> None:
    """E3: after each call of a program that sends sockets through each other, none is left that nobody can receive,
    and each in flight is held by as many messages as its count says."""
    source = HERE.parent / "sockets_wild.c"
    guest(source, [str(seed), "4000"], target=target)
    program = str(build(source, target=target))
    machine = machine_clean(binds=[(program, program, False)], check_invariants=False)
    unix = machine.kernel.unix
    most = 0
    wrong: list[str] = []

    def on_call(call: SyscallExit) -> None:
        nonlocal most
        most = max(most, len(unix.inflight))
        if not wrong and _unreachable(unix):
            wrong.append(f"nobody can receive {_unreachable(unix)} after {call}")
        if not wrong and {filp: flight.count for filp, flight in unix.inflight.items()} != _explained(unix):
            wrong.append(f"counts of {unix.inflight} and {_explained(unix)} after {call}")

    machine.events.listen("syscall_exit", on_call)
    assert machine.run([program, str(seed), "4000"]).exit == 0 and not wrong, wrong
    assert most > 10
    assert (unix.inflight, unix.tot_inflight, unix.sockets) == ({}, 0, {})
