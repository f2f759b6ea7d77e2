"""Mutated packets of gdb's protocol for a stopped program: an answer, an error or nothing, never an exception."""

from __future__ import annotations

import random
import traceback
from typing import Any

from guest.toolchain import compile
from machine import Machine
from machine.errors import NopageError
from machine.observe.gdb.server import Server
from tests.gdb.test_packets import CORPUS

PROGRAM = "int main(void)\n{ return 7; }\n"
BYTES = b"0123456789abcdefpZzmMXgGPHTqQvF,;:.-=#$*}\xff\x00"
RESUMES = (b"c", b"s", b"C", b"S", b"k", b"D", b"vCont;", b"vKill;", b"vRun", b"vAttach", b"r", b"R")
"""Packets after which the program is not stopped any more."""


def mutate(rng: random.Random, text: str) -> bytes:
    """A packet with up to four places changed."""
    packet = bytearray(text.encode())
    for _ in range(rng.randrange(5)):
        where = rng.randrange(len(packet) + 1)
        packet[where : where + rng.randrange(4)] = bytes(rng.choice(BYTES) for _ in range(rng.randrange(5)))
    if rng.random() < 0.02:
        packet += b"0" * rng.choice((100, 5000, 70000))
    return bytes(packet)


def fuzz_gdb(seed: int, count: int = 2000) -> list[str]:
    """What went wrong with `count` packets."""
    rng = random.Random(seed)
    problems: list[str] = []
    target = rng.choice(("x86_64", "i386"))

    def ask(server: Server, task: Any) -> None:
        nobody: Any = type("Nobody", (), {"acknowledged": True, "close": lambda self: None})
        for _ in range(count):
            server.link = nobody()
            packet = mutate(rng, rng.choice(CORPUS))
            if packet.startswith(RESUMES):
                continue
            try:
                answer = server.answer(packet)
            except Exception:
                problems.append(f"seed {seed}, {packet[:200]!r}: {traceback.format_exc()}")
                if len(problems) > 5:
                    break
                continue
            if answer is not None and not isinstance(answer, bytes):
                problems.append(f"seed {seed}, {packet!r}: answered with {answer!r}")
        server.link = None
        server.control.detach_all()

    with Machine(ram=64 << 20, check_invariants=True) as machine:
        server = Server(machine.kernel, "127.0.0.1", 0, lambda line: None)
        machine.kernel.debugger._report = lambda task, why: ask(server, task)
        try:
            process = machine.spawn([str(compile(PROGRAM, target=target))])
            server.control.next_exec = process.task
            machine.wait(process, 60)
        except NopageError:
            pass
        finally:
            server.close()
        problems += [f"seed {seed}: {oops.traceback}" for oops in machine.kernel.oopses]
        machine.kernel.oopses.clear()
        machine.kernel.reports.clear()
        problems += [f"seed {seed}: {complaint}" for complaint in machine.check_clean()]
    return problems
