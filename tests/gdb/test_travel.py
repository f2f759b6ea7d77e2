"""--rewind: positions, snapshots, back by an instruction, to a stop, to an event; who wrote this; recordings."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from machine.observe.travel.journal import Journal
from machine.observe.travel.snapshots import ALIVE, Base, Snapshots, Taken, receive, send
from machine.observe.travel.timeline import Place, Timeline
from tests.conftest import build, run_on_host
from tests.gdb.conftest import TOP, Debugged, line_of, needs_gdb, program
from tests.report.conftest import embedded

SPIN = TOP / "tests" / "guest" / "engine" / "spin.c"


def nopage(*words: str | Path, stdin: str = "", verb: str = "run") -> subprocess.CompletedProcess[str]:
    """``nopage VERB``, which has a minute and a half."""
    process = subprocess.Popen(
        [sys.executable, "-m", "machine", verb, *map(str, words)], cwd=TOP, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        out, err = process.communicate(stdin, timeout=90)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def rewound(commands: str, path: Path, *words: str | Path, stdin: str = "") -> tuple[int, str, str]:
    """(status, output, what nopage said) of a run that goes back and forth."""
    path.write_text(commands)
    done = nopage("--rewind", "--commands", path, *words, stdin=stdin)
    return done.returncode, done.stdout, done.stderr


def positions(path: Path, stepped: bool) -> list[tuple[str, int]]:
    """(event, position) of a run, all at once or instruction by instruction."""
    seen: list[tuple[str, int]] = []
    with Machine(deterministic=True) as machine:
        timeline = Timeline(machine.kernel, Journal(), lambda _on: None)

        def on_event(kind: str, _event: Any) -> None:
            seen.append((kind, timeline.count.position))
            if stepped:
                timeline.instructions(1 << 60, lambda _position: None, lambda: None)

        timeline.on_event = on_event
        result = machine.run([str(path)], timeout=120)
        assert (result.exit, result.stdout) == (7, b"12 6\n")
    return seen


def test_positions_do_not_depend_on_how_code_is_run(target: str) -> None:
    """The same event comes at the same position, whether code runs in blocks or by instructions.  # E7"""
    path = program("many.c", target)
    assert positions(path, False) == positions(path, True)


def test_back_from_a_fault(target: str, tmp_path: Path) -> None:
    """To the instruction before it, further, forth again; to the beginning; to an event; and who wrote it.  # F3"""
    hole = program("hole.c", target)
    status, _, text = rewound(
        "x/i $pc\nreverse-step\nreverse-step\nreverse-step\nstep 2\nc\nreverse-continue\nreverse-step\n"
        "reverse-continue\ngoto 20\nlast-write $sp\nlast-entry $sp\nsnapshot\ngoto 99999\nc\nbefore 40\nc\n",
        tmp_path / "commands", "--device", "scullp", "--break-on", "fault:driver=scullp", "--break-on", "signal:BUS",
        hole,
    )  # fmt: skip
    assert status == 135, text
    answers = dict(enumerate(text.split("nopage> ")))
    places = [re.findall(r"=> (0x[0-9a-f]+)", answers[index]) for index in range(2, 6)]
    assert all(len(each) == 1 for each in places), text
    assert places[0] == places[3], "three back and two forth"
    assert len({each[0] for each in places}) == 3, text
    assert answers[6].startswith("c\nfault ") and "scullp.nopage" in answers[6], text
    assert "the beginning of the recorded run" in answers[7] and "_start" in answers[7], text
    assert "this is where the recorded run begins" in answers[8], text
    assert "this is where the recorded run begins" in answers[9], text
    assert answers[10].startswith("goto 20\nat event 20\n"), text
    assert re.search(r"was written by hole\[2\] after event \d+, instruction 0x", answers[11]), text
    assert re.search(r"absent -> [0-9a-f]{16} P RW US", answers[12]), text
    assert re.search(r"there are \d:\nevent 1, 0 bytes", answers[13]), text
    assert "event 99999 has not happened yet" in answers[14], text
    ran = re.findall(r"event \d+  (0x[0-9a-f]+) \S+ ?\S*   \w", answers[16])
    assert len(ran) == 40 and ran[-3:] == [places[2][0], places[1][0], places[0][0]], answers[16]
    assert "fault " in answers[15] and "nopage: hole (pid 2): SIGBUS" in text, text


def test_the_same_stream_after_going_back(tmp_path: Path) -> None:
    """Threads that contend and spin: the events of a run that went back and forth, and of one that did not, are the
    same bytes; what was printed is printed once.  # F2"""
    path = build(SPIN, target="x86_64")
    texts, files = ("c\n", "goto 300\nreverse-step\nreverse-step\nstep 3\nreverse-continue\ngoto 900\nc\nc\n"), []
    for number, commands in enumerate(texts):
        files.append(tmp_path / f"events{number}")
        status, out, text = rewound(
            commands, tmp_path / "commands", "--events", files[-1], "--break-on", "syscall:exit_group", path
        )
        assert (status, out) == (0, "counted 40000, alarm seen, peer seen\n"), text
    assert text.count("at event") == 2 and text.count("reverse-step\n=> 0x") == 2, text
    assert files[0].read_bytes() == files[1].read_bytes() and len(files[0].read_bytes()) > 1_000_000


def around(hole: Path, window: str) -> tuple[str, list[tuple[str, list[str]]]]:
    """What nopage says, and (heading, lines) of the windows of a fault that is answered and of one in the hole."""
    fill = ("--exec", "sh -c 'echo 12345 > /dev/scullp0'", "--exec", "mapper /dev/scullp0 0 5")
    done = nopage("--trace-window", window, "--filter", "driver=scullp", "--device", "scullp", *fill, hole)
    assert done.returncode == 135 and done.stdout == "12345", done.stderr
    found = re.findall(r"^  (\w.*) fault \d+\n((?:    0x[0-9a-f]+ .*\n)*)", done.stderr, re.M)
    return done.stderr, [(heading, [line.strip() for line in text.splitlines()]) for heading, text in found]


def first(line: str) -> int:
    return int(line.split(maxsplit=1)[0], 16)


def test_instructions_around_a_fault(target: str) -> None:
    """--trace-window N,insn: with what each changed; before a fault in the hole, and around one that is answered; with
    --filter, only there.  # F1"""
    said, windows = around(program("hole.c", target), "5,insn")
    headings = ["before", "the instruction of", "after", "before"]
    assert [heading for heading, _ in windows] == headings, said
    assert [len(lines) for _, lines in windows] == [5, 1, 5, 5], said
    before, at, after, hole = (lines for _, lines in windows)
    assert f"hole.c:{line_of('hole.c', '/* the hole')}   " in hole[-1], said
    fault = re.search(r"fault \d+  mapper\[3\]  (0x[0-9a-f]+)", said)
    assert fault is not None and int(fault[1], 16) == first(at[0]), said
    assert first(at[0]) not in map(first, before + after), "it stands between the two"
    # What it read is the file's "1234"; the last one before the hole loads the address of the page before it.
    address = re.search(r"read of  (0x[0-9a-f]+)", said)
    assert address is not None and f"   reads {address[1]}   " in at[0] and at[0].endswith("-> 0x34333231"), said
    page = int(re.findall(r"read of  (0x[0-9a-f]+)", said)[1], 16)
    assert re.search(rf"   reads 0x[0-9a-f]+   [er]ax = 0x[0-9a-f]+ -> {page - 0x1000:#x}$", hole[-1]), said


def test_blocks_around_a_fault(target: str) -> None:
    """--trace-window N: the blocks are those that the instructions make up.  # F1"""
    path = program("hole.c", target)
    said, windows = around(path, "6")
    _, single = around(path, "150,insn")
    assert [(heading, len(lines)) for heading, lines in windows if heading == "before"] == [("before", 6)] * 2, said
    instructions = [lines for heading, lines in single if heading != "after"]
    for lines, ran in ((windows[0][1], instructions[0] + instructions[1]), (windows[2][1], instructions[2])):
        sizes = [int(re.search(r"   (\d+) instructions?$", line)[1]) for line in lines]  # type: ignore[index]
        own = ran[-sum(sizes) :] if ran is not instructions[2] else [*ran, "the one that faults"][-sum(sizes) :]
        for line, size in zip(lines, sizes, strict=True):
            block, own = own[:size], own[size:]
            assert line.split("   ")[0] == block[0].split("   ")[0], said
            assert not any(ends_block(each) for each in block[:-1]), block
            assert not own or ends_block(block[-1]), block
    after, ran = windows[1][1], next(lines for heading, lines in single if heading == "after")
    assert first(after[0]) == first(ran[0]) and 0 < len(after) <= 6, said
    assert nopage("--trace-window", "0", "hello").returncode == 2
    refused = nopage("--trace-window", "5,lines", "hello")
    assert refused.returncode == 2 and "'lines' is neither block nor insn" in refused.stderr


def test_a_window_is_in_events_and_report(target: str, tmp_path: Path) -> None:
    """--events has the lines of --faults, under the fault's number, and its other lines are those without a window;
    --report has them with the fault.  # F1 F2"""
    hole, words = program("hole.c", target), ("--filter", "driver=scullp", "--device", "scullp")
    with_it, without = tmp_path / "with", tmp_path / "without"
    done = nopage("--trace-window", "5,insn", *words, "--events", with_it, "--report", tmp_path / "r.html", hole)
    assert nopage("--rewind", *words, "--events", without, hole).returncode == done.returncode == 135
    found = [json.loads(line) for line in with_it.read_text().splitlines()]
    windows = [each for each in found if each["kind"] == "window"]
    assert [line for line in found if line["kind"] != "window"] == list(
        map(json.loads, without.read_text().splitlines())
    )
    (fault,) = [each for each in found if each["kind"] == "fault" and each["driver"] == "scullp"]
    (window,) = windows
    assert (window["seq"], window["fault"], window["part"]) == (fault["seq"], fault["number"], "before")
    shown = re.search(r"^  before fault \d+\n((?:    0x[0-9a-f]+ .*\n)*)", done.stderr, re.M)
    assert shown is not None and window["lines"] == [line.strip() for line in shown[1].splitlines()]
    assert len(window["lines"]) == 5
    assert embedded(tmp_path / "r.html")["windows"] == {str(fault["number"]): [["before", window["lines"]]]}


def test_a_fault_inside_of_a_repeated_instruction(target: str) -> None:
    """--trace-window: rep movsb is one instruction of a block, and shown byte by byte with ,insn.  # F1"""
    path = program("copies.c", target)
    assert run_on_host(path).stdout == b"4200 0 the source of the copy\n"
    said = {}
    for window in ("3", "3,insn"):
        done = nopage("--trace-window", window, "--filter", "addr=0x20001000", path)
        assert (done.returncode, done.stdout) == (0, "4200 0 the source of the copy\n"), done.stderr
        said[window] = done.stderr
    ran = re.findall(
        r"rep movsb .*   writes (0x\w+)   reads 0x\w+   [er]cx = (0x\w+) -> (0x\w+)   [er]si = .*   "
        r"[er]di = (0x\w+) -> (0x\w+)$", said["3,insn"], re.M,
    )  # fmt: skip
    expected = range(0x20000FFD, 0x20001004)  # 200 bytes to 0x20000fa0: 0x6b are left at the first
    wanted = [[at, 0x6B - number, 0x6A - number, at, at + 1] for number, at in enumerate(expected)]
    assert [[int(word, 16) for word in row] for row in ran] == wanted, said["3,insn"]
    before, after = re.findall(r"(?:before|after) fault \d+\n((?:    0x.*\n)*)", said["3"])
    assert len(before.splitlines()) == 3, said["3"]
    assert re.search(r" main\S* copies.c:\d+   \d instructions$", before.splitlines()[-1]), "not 96 and more"
    assert f"copies.c:{line_of('copies.c', 'rep movsb')}   " in after.splitlines()[0], said["3"]


def test_the_block_before_a_call_to_nowhere(target: str) -> None:
    """--trace-window: who called, and that there is no code.  # F1"""
    path = program("nowhere.c", target)
    assert run_on_host(path).exit == 139
    done = nopage("--trace-window", "2", "--filter", "addr=0-0xfff", path)
    assert done.returncode == 139, done.stderr
    (caller, nowhere) = re.findall(r"^    (0x.*)", done.stderr, re.M)
    assert re.search(r" main\S* nowhere.c:\d+   \d+ instructions$", caller) and nowhere == "0x0   no code", done.stderr
    done = nopage("--trace-window", "2,insn", "--filter", "addr=0-0xfff", path)
    (call,) = re.findall(r"^    0x.* (main.*   call .*)", done.stderr, re.M)
    line = line_of("nowhere.c", "/* the call")
    assert re.search(rf"nowhere.c:{line}   call .*   writes (0x\w+)   [er]sp = 0x\w+ -> \1$", call), done.stderr


def ends_block(line: str) -> bool:
    text = line.split("   ")[1] if "   " in line else ""
    return re.match(r"(bnd |notrack )?(j\w+|call|ret|int|syscall|sysenter|loop\w*)\b", text) is not None


def test_input_and_output_once(tmp_path: Path) -> None:
    """What was read from a pipe is there again, what was written to a file is not written again.  # E4"""
    out = tmp_path / "out"
    status, _, text = rewound(
        "reverse-continue\nc\nreverse-continue\nc\nc\n", tmp_path / "commands", "--break-on", "syscall:exit_group",
        "--strace", "cat", stdin="one\ntwo\n",
    )  # fmt: skip
    assert status == 0 and text.count('read(0, "one\\ntwo\\n"') == 1, text
    with out.open("w") as stream:
        done = subprocess.run(
            [sys.executable, "-m", "machine", "run", "--rewind", "--break-on", "syscall:exit_group", "--commands",
             str(tmp_path / "commands"), "cat"],
            cwd=TOP, input="one\ntwo\n", stdout=stream, stderr=subprocess.PIPE, text=True, timeout=90, check=True,
        )  # fmt: skip
    assert out.read_text() == "one\ntwo\n", done.stderr
    assert done.stderr.count("the beginning of the recorded run") == 2


def test_nothing_is_left() -> None:
    """Killed, the session takes its snapshots and the machine with it.  # F3"""
    process = subprocess.Popen(
        [sys.executable, "-m", "machine", "run", "--rewind", "--break-on", "oops", "cat"],
        cwd=TOP, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    end = time.monotonic() + 60
    while len(ours := children(process.pid)) < 2:
        assert time.monotonic() < end and process.poll() is None, ours
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    end = time.monotonic() + 20
    while any(os.path.exists(f"/proc/{pid}") for pid in ours):
        assert time.monotonic() < end, ours
        time.sleep(0.1)


def children(pid: int) -> list[int]:
    found = []
    for each in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if each.read_text().rpartition(")")[2].split()[1] == str(pid):
                found += [int(each.parent.name), *children(int(each.parent.name))]
    return found


PERFETTO = (
    "--rewind and --perfetto don't go together: what was drawn can't be taken back; nopage run --record FILE, then "
    "nopage replay --perfetto TRACE FILE"
)
TICKS = "--rewind and --max-ticks don't go together; --timeout ends the session"
WRITABLE = "--rewind: what the guest writes to a :rw bind can't be taken back; bind it without :rw"


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--perfetto", "x"), PERFETTO), (("--max-ticks", "9"), TICKS), (("--bind", "/tmp:/x:rw"), WRITABLE)],
)
def test_what_can_not_be_taken_back(words: tuple[str, str], said: str) -> None:
    """Refused, and why.  # F3"""
    done = nopage("--rewind", *words, "hello")
    assert (done.returncode, done.stderr) == (125, f"nopage: {said}\n")


def test_a_recording(tmp_path: Path) -> None:
    """The same bytes of events, without the input; with a debugger that goes back; a damaged file.  # F2"""
    first, second = tmp_path / "first", tmp_path / "second"
    recording = tmp_path / "recording"
    done = nopage("--record", recording, "--events", first, "sh", "-c", "read a; echo got $a; head -c3", stdin="x\nabc")
    assert (done.returncode, done.stdout) == (0, "got x\nabc"), done.stderr
    done = nopage("--events", second, recording, verb="replay")
    assert (done.returncode, done.stdout) == (0, "got x\nabc"), done.stderr
    assert first.read_bytes() == second.read_bytes() and first.stat().st_size > 10_000
    (tmp_path / "commands").write_text("reverse-continue\nc\nc\n")
    options = ("--rewind", "--break-on", "syscall:exit_group,comm=sh", "--commands", tmp_path / "commands")
    done = nopage(*options, recording, verb="replay")
    assert (done.returncode, done.stdout) == (0, "got x\nabc"), done.stderr
    assert "the beginning of the recorded run" in done.stderr
    recording.write_bytes(recording.read_bytes()[:-3])
    done = nopage(recording, verb="replay")
    assert done.returncode == 125 and "is damaged" in done.stderr
    done = nopage(first, verb="replay")
    assert done.returncode == 125 and "no recording" in done.stderr


@needs_gdb
def test_gdb_goes_back(target: str) -> None:
    """reverse-continue to breakpoints and watchpoints, reverse-stepi, the beginning, monitor goto, the end.  # F3"""
    with Debugged(program("many.c", target), options=("--rewind",)) as session:
        text = session.gdb(
            "break twice", "continue", "continue", "p x", "reverse-continue", "p x", "reverse-stepi", "reverse-stepi",
            "watch counter", "continue", "continue", "p counter", "reverse-continue", "p counter", "delete",
            "monitor snapshot", "reverse-continue", "p $pc == &_start", "monitor goto 4",
            "maintenance flush register-cache", "continue",
        )  # fmt: skip
        status, out, err = session.end()
    found = re.findall(r"\$\d+ = (\d+)", text)
    assert found == ["2", "1", "1", "0", "1"], text
    assert "Old value = 0\nNew value = 1" in text and "Old value = 1\nNew value = 0" in text, text
    assert "No more reverse-execution history" in text and "at event 4" in text, text
    assert f"many.c:{line_of('many.c', 'counts')}" in text, text
    assert (status, out) == (7, "12 6\n"), err


FOREVER = """
#include <stdio.h>
int main(void)
{
	printf("begun\\n");
	fflush(stdout);
	for (volatile unsigned n = 0;; n++)
		;
}
"""


def test_the_time_of_a_session(tmp_path: Path) -> None:
    """--timeout ends a program that --trace-window or the prompt watches, also after going back; nopage says where it
    was; and a session that stands at the prompt for too long.  # F3"""
    path = build(FOREVER, target="x86_64")
    done = nopage("--trace-window", "2", f"--faults={tmp_path}/faults", "--timeout", "4", path)
    assert done.returncode == 124, done.stderr
    assert "still running after 4 seconds; killed" in done.stderr and " (pid 2) is ready to run, at " in done.stderr
    commands = "reverse-step\nc\nc\n"
    status, out, text = rewound(commands, tmp_path / "commands", "--timeout", "10", "--break-on", "syscall:write", path)
    assert (status, out) == (124, "begun\n") and " is ready to run, at main+" in text, text


def test_the_time_of_a_prompt_that_nobody_answers(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from machine import rewinding

    monkeypatch.setattr(rewinding, "GRACE", 1.0)

    def stands(_base: Any) -> int:
        signal.signal(rewinding.OVER, signal.SIG_IGN)
        time.sleep(60)
        return 0

    started = time.monotonic()
    assert rewinding.supervised(stands, 1.5) == 124 and time.monotonic() - started < 30
    assert capfd.readouterr().err == "\nnopage: the session goes on after 1.5 seconds; killed\n"


def test_blocks_of_a_run_that_went_back(tmp_path: Path) -> None:
    """--drcov has what ran, whether the session went back or not: byte for byte of code.  # F2"""
    from tests.unit.test_drcov import read

    covered = []
    for number, commands in enumerate(("c\n", "reverse-step\nreverse-step\ngoto 20\nc\nc\n")):
        file = tmp_path / f"{number}.drcov"
        status, _, text = rewound(
            commands, tmp_path / "commands", "--drcov", file, "--device", "scullp", "--break-on", "signal:BUS",
            program("hole.c", "x86_64"),
        )  # fmt: skip
        assert status == 135, text
        covered.append(read(file)[1])
    assert covered[0] == covered[1] and covered[0]


TWICE = """
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>
int main(void)
{
	int fd = open("/dev/shm/m", O_RDWR | O_CREAT, 0600), mem = open("/dev/mem", O_RDWR);
	ftruncate(fd, 8192);
	volatile char *a = mmap((void *)0x10000000, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	volatile char *b = mmap((void *)0x10010000, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	volatile uint32_t *at = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, mem, 0xfe000000);
	a[0] = 1;
	for (volatile int i = 0; i < 40000; i++)
		if (i == 20000)
			b[8] = 3; /* through the other */
	getppid();
	pwrite(fd, "hello", 5, 16);
	getppid();
	at[0] = 0x300000;
	getppid();
	return 0;
}
"""
COPIER = """
from machine.testing import Reg, RegisterBlock

class Copier(RegisterBlock):
    ctrl = Reg(0x00)

    @ctrl.on_write
    def started(self, value):
        self.dma_write(value, b"copied")
"""


def test_who_wrote_a_frame(target: str, tmp_path: Path) -> None:
    """By its number or a physical address: a store through another mapping, found among thousands of instructions
    without an event, write(2), a device's DMA; where nobody wrote, and where no RAM is.  # F3"""
    path, model = build(TWICE, target=target), tmp_path / "copier.py"
    model.write_text(COPIER)
    words = ("--attach", f"/dev/mem@0xfe000000={model}:Copier", "--break-on", "syscall:getppid", path)
    text = rewound("page 0x10000000\n", tmp_path / "commands", *words)[2]
    found = re.search(r"frame  (0x[0-9a-f]+)", text)
    assert found is not None, text
    pfn = found[1]
    status, _, text = rewound(
        f"last-write pfn {pfn}\nlast-write phys {pfn}000\nc\nlast-write pfn {pfn}\nc\nlast-write pfn 0x300\n"
        "last-write phys 0x300008\nlast-write pfn 0xfffff\nlast-write pfn\nlast-write 0x10010008\n",
        tmp_path / "commands", *words,
    )  # fmt: skip
    assert status == 0, text
    other, first, _, written, _, copied, beside, nowhere, bare, virtual, *_ = re.split(r"nopage> .*\n", text)[1:]
    store = next(n for n, line in enumerate(TWICE.splitlines(), 1) if "the other" in line)
    comm = path.name[:15]
    for said, where, line in ((other, f"frame {pfn}", store), (first, f"physical {pfn}000", store - 3)):
        who = rf"{where} was changed by {comm}\[2\] before event \d+, instruction 0x\w+ main\+\S+ \S+:{line}   mov .*\n"
        assert re.fullmatch(who, said), said
    assert re.fullmatch(
        rf"frame {pfn} was changed by {comm}\[2\] before event \d+, by the kernel, in pwrite64\(\)\n", written
    )
    assert re.fullmatch(rf"frame 0x300 was changed by copier's DMA, after event \d+, while {comm}\[2\] ran\n", copied)
    assert beside == "nobody has changed physical 0x300008 since the first snapshot\n"
    assert nowhere == "physical 0xfffff000 is no RAM\n" and "'pfn' is no address" in bare
    assert "0x10010008 was written by" in virtual


@needs_gdb
def test_gdb_waits_for_a_long_answer() -> None:
    """Questions that take longer than gdb waits: each answer comes once, in order.  # F3"""
    many, asked = program("many.c", "x86_64"), [f"monitor last-write pfn {n:#x}" for n in (0x300, 0x301, 0x302)]
    with Debugged(many, options=("--rewind",)) as session:
        text = session.gdb("set remotetimeout 1", "break twice", "continue", "monitor snapshot", *asked, "kill")
        session.end()
    answers = re.findall(r"^nobody has changed frame (0x30\d) since", text, re.M)
    assert answers == ["0x300", "0x301", "0x302"], text


def test_who_waits_hears_that_it_takes_longer(tmp_path: Path) -> None:
    heard, path = [], str(tmp_path / "snapshot")
    snapshots = Snapshots(Base(str(tmp_path), -1, lambda: None), lambda: None)
    snapshots.waiting = lambda: heard.append(time.monotonic())
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()

        def answers() -> None:
            stream, _ = listener.accept()
            receive(stream)
            time.sleep(4 * ALIVE)
            send(stream, "late")
            stream.close()

        thread = threading.Thread(target=answers)
        thread.start()
        assert snapshots.ask(Taken(Place(1, 0), 1, path), {"do": "until"}) == "late"
        thread.join()
    assert len(heard) >= 2
