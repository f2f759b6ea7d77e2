"""The protocol itself: framing, answers to single packets, packets that make no sense."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest

from machine import Machine
from machine.observe.gdb.packets import INTERRUPT, Gone, Link, escape, unescape
from machine.observe.gdb.registers import layout, target_xml
from machine.observe.gdb.server import Server
from machine.observe.gdb.signals import from_gdb, to_gdb
from tests.conftest import build

Make = Callable[..., Machine]


def framed(data: bytes) -> bytes:
    return b"$%s#%02x" % (data, sum(data) & 0xFF)


@pytest.fixture
def link() -> Any:
    ours, theirs = socket.socketpair()
    made = Link.__new__(Link)
    ours.setblocking(False)
    made.stream, made.acknowledged, made._buffer, made._last = ours, True, bytearray(), b""
    yield made, theirs
    ours.close()
    theirs.close()


def test_framing(link: Any) -> None:
    """Packets, acknowledgements, a wrong sum, an interrupt, rubbish in between, an answer once more, the end."""
    made, theirs = link
    theirs.sendall(b"+" + framed(b"qC") + b"\x03" + b"$qC#00" + b"noise" + framed(b"g") + b"$m0,")
    assert made.fill(1)
    assert [made.next() for _ in range(4)] == [b"qC", INTERRUPT, b"g", None]
    assert theirs.recv(99) == b"+-+"
    made.send(b"OK")
    theirs.sendall(framed(b"m0,4")[4:] + b"-")
    assert made.fill(1) and made.next() == b"m0,4" and made.next() is None
    assert theirs.recv(99) == framed(b"OK") + b"+" + framed(b"OK")
    made.acknowledged = False
    theirs.sendall(b"$qC#00" + framed(b"?"))
    assert made.fill(1) and made.next() == b"?"
    theirs.close()
    with pytest.raises(Gone):
        made.fill(1)


def test_escapes() -> None:
    data = bytes(range(256))
    assert unescape(escape(data)) == data
    assert not set(b"#$*") & set(escape(data))


def test_noise(link: Any) -> None:
    """Random bytes never get in the way of the packet after them.  (Short form of a fuzz test.)"""
    made, theirs = link
    rng = random.Random(6)
    for _ in range(300):
        noise = b"+" + bytes(rng.choice(b"$#}\x03+-*qmvX0f\xff\x00") for _ in range(rng.randrange(40)))
        theirs.sendall(noise + b"#00" + framed(b"qC"))
        made.fill(1)
        seen = []
        while (item := made.next()) is not None:
            seen.append(item)
        assert seen[-1] == b"qC" and not made._buffer
        theirs.setblocking(False)
        theirs.recv(9999)
        theirs.setblocking(True)


def test_signal_numbers() -> None:
    """gdb's own: SIGBUS is 10, SIGUSR1 30, the first real-time one 77; there and back."""
    assert [to_gdb(number) for number in (7, 10, 12, 17, 31, 32, 33, 34, 64)] == [10, 30, 31, 20, 12, 77, 45, 46, 78]
    assert [from_gdb(to_gdb(number)) for number in range(1, 65) if number != 16] == [n for n in range(1, 65) if n != 16]
    assert from_gdb(143) == 0


@pytest.mark.parametrize("bits", [64, 32])
def test_target_description(bits: int) -> None:
    """The features that gdb's i386 port wants, with its numbers."""
    tree = ElementTree.fromstring(target_xml(bits).split(b"?>", 1)[1].split(b">", 1)[1])
    names = [each.get("name") for each in tree.iter("reg")]
    assert names == [register.name for register in layout(bits)]
    assert names.index("st0") == (24 if bits == 64 else 16) and names.index("mxcsr") == (56 if bits == 64 else 40)
    assert sum(register.size for register in layout(bits)) == (560 if bits == 64 else 312)


def at_entry(make: Make, target: str, questions: Callable[[Server, Any], None]) -> Any:
    """Run a program whose first instruction is stopped at; `questions` are asked there."""
    machine = make()
    server = Server(machine.kernel, "127.0.0.1", 0, lambda line: None)
    machine.kernel.debugger._report = lambda task, why: questions(server, task)
    try:
        process = machine.spawn([str(build("int main(void)\n{ return 7; }\n", target=target))])
        server.control.next_exec = process.task
        return machine.wait(process, 60)
    finally:
        server.close()


CORPUS = (
    "qSupported:multiprocess+;fork-events+", "?", "Hgp2.2", "Hg0", "Hc-1", "T2", "qC", "qfThreadInfo", "qsThreadInfo",
    "qThreadExtraInfo,2", "qAttached", "qAttached:2", "g", "G00", "p0", "p10", "P0=0000000000000000", "m400000,40",
    "m0,1", "M400000,1:00", "X400000,0:", "Z0,400000,1", "z0,400000,1", "Z2,400000,8", "z2,400000,8", "Z9,0,0",
    "QCatchSyscalls:1;1;2", "QCatchSyscalls:0", "QPassSignals:e;10", "vCont?", "vMustReplyEmpty", "vKill;9999", "D;99",
    "vAttach;2", "vRun;", "qXfer:features:read:target.xml:0,fff", "qXfer:auxv:read::0,1000", "qXfer:osdata:read::0,99",
    "qXfer:exec-file:read:2:0,100", "qXfer:siginfo:read::0,80", "qXfer:threads:read::0,1000",
    "qXfer:memory-map:read::0,9",
    "vFile:setfs:0", "vFile:open:2f70726f632f73656c662f6d617073,0,0", "vFile:pread:0,100,0", "vFile:fstat:0",
    "vFile:readlink:2f70726f632f73656c66", "vFile:close:0", "qRcmd,6d617073", "qRcmd,77616c6b20307831303030",
    "QEnvironmentHexEncoded:413d42", "QSetWorkingDir:2f", "QStartNoAckMode", "qSymbol::", "!", "R00", "vCont;x:p1.1",
)  # fmt: skip


def test_every_packet_has_an_answer(machine_clean: Make, target: str) -> None:
    """Mutated packets: an answer, none, or an error; never an exception, and the program runs to its end.  (Short form
    of a fuzz test.)"""
    rng = random.Random(target)
    seen = {"good": 0, "error": 0, "unknown": 0}

    def ask(server: Server, task: Any) -> None:
        server.link = Any  # type: ignore[assignment]
        server.link = type("Nobody", (), {"acknowledged": True, "close": lambda self: None})()
        for turn in range(3000):
            packet = bytearray(CORPUS[turn % len(CORPUS)].encode())
            for _ in range(rng.randrange(4) if turn >= len(CORPUS) else 0):
                where = rng.randrange(len(packet) + 1)
                packet[where : where + rng.randrange(3)] = bytes(
                    rng.choice(b"0123456789abcdef,;:.-p\xff\x00") for _ in range(rng.randrange(4))
                )
            if bytes(packet[:2]) in (b"D", b"k") or packet[:1] in (b"k", b"D", b"c", b"s", b"C", b"S"):
                continue
            if packet[:1] in (b"G", b"P", b"M", b"X") or b"vAttach" in packet or packet[:6] in (b"vCont;", b"vKill;"):
                continue
            answer = server.answer(bytes(packet))
            assert answer is None or isinstance(answer, bytes)
            seen["unknown" if not answer else "error" if answer[:1] == b"E" else "good"] += 1
        server.link = None
        server.control.detach_all()

    assert at_entry(machine_clean, target, ask).exit == 7
    assert seen["good"] > 500 and seen["error"] > 300, seen


def test_hostile_packets(machine_clean: Make, target: str) -> None:
    """Numbers of any size and sign, things that are not there: errors."""

    def ask(server: Server, task: Any) -> None:
        size = len(server.answer(b"g") or b"") // 2
        assert size == (560 if target == "x86_64" else 312)
        for packet in (
            "m-1,4", "m0,fffffffffffffffff", "mffffffffffffffff,8", "m0", "p99", "p-1", "P0=00", "P99=00", "Gzz",
            "Hgp99.99", "T99", "M1000,1:00", "Z0,ffffffffffffffff,1", "Z2,0,0", "Z2,0,ffffffffff", "qAttached:99",
            "qXfer:features:read:none.xml:0,9", "qXfer:osdata:read:nothing:0,9", "QCatchSyscalls:2", "vAttach;1",
            "vAttach;ffffffffffff", "qThreadExtraInfo,zz", "qRcmd,0",
        ):  # fmt: skip
            assert (server.answer(packet.encode()) or b"").startswith(b"E"), packet
        for packet in ("vFile:open:2f,0,0", "vFile:open:2f6465762f6d656d,0,0", "vFile:pread:5,10,0", "vFile:close:zz",
                       "vFile:open:2f746d702f6e6577,601,1ff", "vFile:unlink:2f", "vFile:fstat:"):  # fmt: skip
            assert (server.answer(packet.encode()) or b"").startswith(b"F-1,"), packet
        assert [server.answer(each) for each in (b"vFile:nothing:1", b"qNothing", b"vMustReplyEmpty")] == [b""] * 3
        server.control.detach_all()

    assert at_entry(machine_clean, target, ask).exit == 7


def test_registers_there_and_back(machine_clean: Make, target: str) -> None:
    """G and P of each register that can be written: g shows it; the rest of them stay."""

    def ask(server: Server, task: Any) -> None:
        before = bytes.fromhex((server.answer(b"g") or b"").decode())
        for number, register in enumerate(layout(64 if target == "x86_64" else 32)):
            old = before[register.offset : register.offset + register.size]
            if register.name in ("eflags", "mxcsr", "fctrl", "fstat", "ftag") or register.name.endswith("_base"):
                continue
            new = bytes(b ^ 0x11 for b in old)
            fixed = register.name in ("cs", "ss", "ds", "es", "fs", "gs", "fiseg", "fioff", "foseg", "fooff", "fop")
            answer = server.answer(b"P%x=%s" % (number, new.hex().encode()))
            assert answer == (b"E16" if fixed else b"OK"), register.name
            shown = server.answer(b"p%x" % number)
            if not fixed and not register.name.startswith("orig"):
                assert shown == new.hex().encode(), register.name
            server.answer(b"P%x=%s" % (number, old.hex().encode()))
        assert server.answer(b"G" + before.hex().encode()) == b"OK"
        assert server.answer(b"g") == before.hex().encode()
        server.control.detach_all()

    assert at_entry(machine_clean, target, ask).exit == 7


def test_names_of_the_guests(machine_clean: Make, target: str) -> None:
    """What a program calls itself leaves XML well-formed, is no line of ours, and does not steer a terminal."""
    comm = "<x a=\"'&\x1b[2J\udcff\n\u202e]]>"
    kept: list[bytes] = []

    def ask(server: Server, task: Any) -> None:
        task.comm = comm
        kept.append(server.answer(b"qXfer:threads:read::0,1000") or b"")
        kept.append(server.answer(b"qXfer:osdata:read:processes:0,1000") or b"")
        kept.append(server.answer(b"qXfer:osdata:read:threads:0,1000") or b"")
        kept.append(server.answer(b"qThreadExtraInfo,%x" % task.pid) or b"")
        kept.append(server.answer(b"qRcmd," + b"help\x1b".hex().encode()) or b"")
        server.control.detach_all()

    assert at_entry(machine_clean, target, ask).exit == 7
    *trees, extra, said = kept
    shown = "<x a=\"'&\\x1b[2J\\xff\\x0a\\u202e]]>"
    threads, processes, every = (ElementTree.fromstring(tree[1:].decode()) for tree in trees)
    assert [each.get("name") for each in threads.iter("thread")] == [shown]
    assert shown in [each.text for each in every.iter("column")] and list(processes.iter("item"))
    assert bytes.fromhex(extra.decode()).decode() == shown
    assert bytes.fromhex(said.decode()).decode() == "no such command: help\\x1b; monitor help lists them\n"
