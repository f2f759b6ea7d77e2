"""Mutated packets of gdb's protocol for a stopped program: an answer, an error or nothing, never an exception."""

from __future__ import annotations

import random
import traceback
from typing import Any

from guest.toolchain import compile
from machine import Machine
from machine.errors import NopageError
from machine.observe.gdb.server import Server
from tests.fuzz.findings import Findings
from tests.gdb.test_packets import CORPUS
from tests.steps import Steps

PROGRAM = "int main(void)\n{ return 7; }\n"
BYTES = b"0123456789abcdefpZzmMXgGPHTqQvF,;:.-=#$*}\xff\x00"
RESUMES = (b"c", b"s", b"C", b"S", b"k", b"D", b"vCont;", b"vKill;", b"vRun", b"vAttach", b"r", b"R")
"""Packets after which the program is not stopped any more."""
MOST = 5
"""Problems after which a seed gives up, or looks no more."""


def mutate(rng: random.Random, text: str) -> bytes:
    """A packet with up to four places changed."""
    packet = bytearray(text.encode())
    for _ in range(rng.randrange(5)):
        where = rng.randrange(len(packet) + 1)
        packet[where : where + rng.randrange(4)] = bytes(rng.choice(BYTES) for _ in range(rng.randrange(5)))
    if rng.random() < 0.02:
        packet += b"0" * rng.choice((100, 5000, 70000))
    return bytes(packet)


def fuzz_gdb(seed: int, count: int = 2000) -> Findings:
    """`count` packets; the machine's invariants are looked at after each."""
    rng = random.Random(seed)
    found = Findings()
    problems = found.problems
    target = rng.choice(("x86_64", "i386"))

    def ask(server: Server, task: Any) -> None:
        nobody: Any = type("Nobody", (), {"acknowledged": True, "close": lambda self: None})
        while found.cases < count:
            server.link = nobody()
            packet = mutate(rng, rng.choice(CORPUS))
            if packet.startswith(RESUMES):
                continue
            found.cases += 1
            try:
                answer = server.answer(packet)
            except Exception:
                problems.append(f"{packet[:200]!r}: {traceback.format_exc()}")
                if len(problems) > MOST:
                    break
                continue
            if len(problems) <= MOST:
                problems.extend(steps.look(f"{packet[:200]!r}"))
            if answer is not None and not isinstance(answer, bytes):
                problems.append(f"{packet!r}: answered with {answer!r}")
        server.link = None
        server.control.detach_all()

    with Machine(ram=64 << 20, check_invariants=True) as machine:
        steps = Steps(machine, every=0)
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
        problems += [oops.traceback for oops in machine.kernel.oopses]
        machine.kernel.oopses.clear()
        machine.kernel.reports.clear()
        problems += machine.check_clean()
    return found
