"""Golden recordings of programs that poll: what is folded, what a recording that was changed by hand accepts."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

import pytest

from machine.errors import ConfigError
from machine.events import RegisterAccess
from machine.testing.buslog import BusLog
from machine.testing.golden import check, first_difference, folded, recorded
from machine.testing.loops import flat, texts
from tests.testing.conftest import Project
from tests.testing.programs import HEAD

pytest_plugins = ["pytester"]

TESTS = """
import os
from devices import Timer as Plain

class Slow(Plain):
    name = "timer"
    def __init__(self):
        super().__init__()
        self.polls = 0
    def read_status(self):
        self.polls += 1
        return 1 if self.polls > int(os.environ["POLLS"]) else 0

@pytest.mark.device("/dev/mem@0xfe000000", Slow)
@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_polls(run, recording, guest_cc, target):
    recording(run(guest_cc("timer_demo.c", target=target), "wait"))
"""
NAME = "recordings/test_it-test_polls[{}].txt"


@pytest.fixture
def polls(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    from tests.testing.programs import TIMER

    (project.path / "timer_demo.c").write_text(TIMER)
    monkeypatch.setenv("POLLS", "37")
    project.run(TESTS, "--nopage-record").assert_outcomes(passed=2)
    return project


def test_polls_are_one_line(polls: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """37 reads of a status register, x86_64 and i386; one more is a difference that is told in one line."""
    for target in ("x86_64", "i386"):
        lines = (polls.path / NAME.format(target)).read_text(encoding="utf-8").splitlines()
        assert [re.sub(r" +# main timer_demo\.c:\d+$", "", line) for line in lines[1:]] == [
            "write timer.period = 0x3e8 (1000)",
            "write timer.ctrl = 1",
            "read  timer.status = 0  × 37",
            "read  timer.status = 1",
            "read  timer.count = 0x2a (42)",
        ]
    polls.run(TESTS).assert_outcomes(passed=2)
    monkeypatch.setenv("POLLS", "38")
    result = polls.run(TESTS, "--tb=short")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "E   AssertionError: register accesses differ from recordings/test_it-test_polls?x86_64?.txt *",
            "E *@@ access 0 @@",
            "E * write timer.period = 0x3e8 (1000) *",
            "E * write timer.ctrl = 1 *",
            "E * - read  timer.status = 0  × 37 * # main timer_demo.c:*",
            "E * + read  timer.status = 0  × 38 * # main timer_demo.c:*",
            "E * read  timer.status = 1 *",
            "E * read  timer.count = 0x2a (42) *",
            "E   the read that came instead: timer.status = 0",
        ]
    )


def test_a_number_that_is_left_open(polls: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The author makes it `× *`: any number fits, and --nopage-update does not take it back."""
    for target in ("x86_64", "i386"):
        path = polls.path / NAME.format(target)
        path.write_text(path.read_text(encoding="utf-8").replace("× 37", "× *"), encoding="utf-8")
    for number in ("0", "500"):
        monkeypatch.setenv("POLLS", number)
        polls.run(TESTS).assert_outcomes(passed=2)
    polls.run(TESTS, "--nopage-update").assert_outcomes(passed=2)
    assert "read  timer.status = 0  × *  " in path.read_text(encoding="utf-8")
    changed = path.read_text(encoding="utf-8").replace("status = 1 ", "status = 2 ")
    path.write_text(changed, encoding="utf-8")
    result = polls.run(TESTS)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E * - read  timer.status = 2 *", "E * + read  timer.status = 1 *"])
    polls.run(TESTS, "--nopage-update").assert_outcomes(passed=2)
    text = path.read_text(encoding="utf-8")
    assert "status = 1 " in text and "status = 0  × *  " in text, "the rest is taken over, what was open stays open"


def log(text: str) -> BusLog:
    """``s0`` a read of s that gave 0, ``W1`` a write of w."""
    made = []
    for each in text.split():
        made.append(RegisterAccess("dev", each[0].lower(), 0, 4, each[0].isupper(), int(each[1:]), 0x1000, 2))
    return BusLog(made)


def fits(path: Path, lines: str, accesses: str) -> bool:
    """Whether a recording with these lines accepts these accesses."""
    path.write_text("".join(f"{line.strip()}\n" for line in lines.split(";")), encoding="utf-8")
    try:
        check(log(accesses), path, record=False, update=False)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize(
    ("lines", "good", "bad"),
    [
        ("read dev.s = 0 × 3", ["s0 s0 s0"], ["s0 s0", "s0 s0 s0 s0", "s0 s1 s0", "S0 S0 S0", ""]),
        ("read dev.s = 0; read  dev.s = 0 x2", ["s0 s0 s0"], ["s0 s0"]),  # as old recordings have it
        ("read dev.s = 0 × +; read dev.s = 1", ["s0 s1", "s0 s0 s0 s1"], ["s1", "s0", "s0 s1 s1"]),
        ("read dev.s = 0 × *; read dev.s = 0 × 2", ["s0 s0", "s0 s0 s0 s0 s0"], ["s0", "s0 s0 s1"]),
        ("read dev.s = *", ["s0", "s9"], ["s0 s1", "W0"]),
        ("read dev.s = * × *; write dev.w = 1", ["W1", "s1 s2 s3 W1"], ["s1 s2 t1 W1", "s1 s2 W2"]),
        ("read dev.s = * x 2; read dev.s = 3", ["s1 s2 s3", "s3 s3 s3"], ["s1 s2", "s1 s2 s4"]),
        ("read dev.s = * × +; read dev.s = * × +; write dev.w = 1", ["s1 s2 W1", "s1 s1 s1 W1"], ["s1 W1", "W1"]),
    ],
)
def test_what_fits(tmp_path: Path, lines: str, good: list[str], bad: list[str]) -> None:
    path = tmp_path / "r.txt"
    assert all(fits(path, lines, each) for each in good), lines
    assert not any(fits(path, lines, each) for each in bad), lines


def test_it_is_a_pattern_as_re_has_them(tmp_path: Path) -> None:
    """Random recordings and accesses, decided by Python's own matcher too."""
    chance, agreed = random.Random(7), set()
    for _ in range(2000):
        lines = [(chance.choice("01*"), chance.choice(["", "2", "3", "*", "+"])) for _ in range(chance.randint(1, 5))]
        accesses = "".join(chance.choice("001") for _ in range(chance.randint(0, 8)))
        text = ";".join(f"read dev.s = {value}{f'  × {times}' if times else ''}" for value, times in lines)
        pattern = "".join(
            (value if value != "*" else ".") + (f"{{{times}}}" if times.isdigit() else times) for value, times in lines
        )
        expected = re.fullmatch(pattern, accesses) is not None
        assert fits(tmp_path / "r.txt", text, " ".join(f"s{each}" for each in accesses)) == expected, (text, accesses)
        agreed.add(expected)
    assert agreed == {True, False}


def test_update_keeps_what_is_open_and_takes_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "r.txt"
    path.write_text("read dev.s = 0 × *\nwrite dev.w = 1\nread dev.c = * × +\nread dev.e = 7 × *\n", encoding="utf-8")
    check(log("s0 s0 W1 c1 c2 c2 c3"), path, record=False, update=True)
    open_ones = ["read  dev.s = 0  × *", "write dev.w = 1", "read  dev.c = *  × +", "read  dev.e = 7  × *"]
    assert path.read_text(encoding="utf-8").splitlines()[1:] == open_ones
    check(log("s0 W2 W2 c5 c6"), path, record=False, update=True)
    assert path.read_text(encoding="utf-8").splitlines()[1:] == [open_ones[0], "write dev.w = 2  × 2", open_ones[2]]
    with pytest.raises(AssertionError) as differs:
        check(log("s0 s0 s0 W2 c5 c6"), path, record=False, update=False)
    assert [line.strip() for line in str(differs.value).splitlines()[1:]] == [
        "@@ access 0 @@", "read  dev.s = 0  × 3", "- write dev.w = 2  × 2", "+ write dev.w = 2",
        "read  dev.c = 5", "read  dev.c = 6",
    ]  # fmt: skip


def test_a_line_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "r.txt"
    path.write_text("# head\n\nread  dev.s = 0\nreed dev.s = 0   # main x.c:7\n")
    with pytest.raises(ConfigError) as caught:
        recorded(path)
    assert str(caught.value) == (
        f"{path}:4: 'reed dev.s = 0   # main x.c:7' is no line of a recording; they are like 'write timer.ctrl = 1 "
        "(enable=1)' and 'read  timer.status = 0  × 37', where * stands for any value, × + and × * for any number, or "
        "'repeat × 37:' before lines that are indented alike"
    )


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("repeat × 2:\nread dev.s = 0\n", 1, "'repeat × 2:': what is repeated follows in lines that are indented"),
        ("repeat x *\n", 1, "'repeat x *': what is repeated follows in lines that are indented by two blanks"),
        ("repeat × 2:\n  read dev.s = 0\n   read dev.t = 0\n", 3, "'read dev.t = 0' is no line of a recording"),
        ("repeat × 2:\n  read dev.s = 0\n read dev.t = 0\n", 3, "'read dev.t = 0' is no line of a recording"),
        (" read dev.s = 0\n", 1, "'read dev.s = 0' is no line of a recording"),
        ("repeat:\n  read dev.s = 0\n", 1, "'repeat:' is no line of a recording"),
    ],
)
def test_a_repeat_that_is_none(tmp_path: Path, text: str, line: int, said: str) -> None:
    path = tmp_path / "r.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        recorded(path)
    assert str(caught.value).startswith(f"{path}:{line}: {said}")


def lines(text: str) -> list[str]:
    """What a recording of these accesses has: heads cut, for short."""
    return [re.sub(r"(read |write) dev\.", "", line) for line in texts(folded(log(text)))]


def test_loops_are_written_once() -> None:
    """Two registers in turn, a write among them, rounds in rounds; twice is written out."""
    assert lines("s0 c5 " * 37 + "s1 W1") == ["repeat × 37:", "  s = 0", "  c = 5", "s = 1", "w = 1"]
    assert lines("W1 s0 s0 c5 " * 4 + "s0 s0 s0") == [
        "repeat × 4:", "  w = 1", "  s = 0  × 2", "  c = 5", "s = 0  × 3",
    ]  # fmt: skip
    inner = "W1 " + "s0 t0 " * 3 + "c5 "
    assert lines(inner * 3 + "s1") == [
        "repeat × 3:", "  w = 1", "  repeat × 3:", "    s = 0", "    t = 0", "  c = 5", "s = 1",
    ]  # fmt: skip
    assert lines("s0 c5 s0 c5 s1") == ["s = 0", "c = 5", "s = 0", "c = 5", "s = 1"]


def test_a_folded_recording_is_the_list_it_was_made_from(tmp_path: Path) -> None:
    """Written, read, and unfolded, random loops are the accesses; one access more or less, or another, is none."""
    chance, path, rounds = random.Random(11), tmp_path / "r.txt", 0
    for _ in range(150):
        made: list[str] = []
        while len(made) < 20:
            body = [chance.choice(["s0", "s1", "c5", "W1"]) for _ in range(chance.randint(1, 4))]
            made += body * chance.randint(1, 6)
        path.unlink(missing_ok=True)
        check(log(" ".join(made)), path, record=True, update=False)
        rounds += "repeat" in path.read_text(encoding="utf-8")
        kept = recorded(path)
        assert [(x.head[-1], x.value) for x in flat(kept) for _ in range(int(x.times))] == [
            (each[0].lower(), each[1:]) for each in made
        ]
        at = chance.randrange(len(made))
        for other in (
            [*made[:at], *made[at + 1 :]],
            [*made[:at], "t9", *made[at:]],
            [*made[:at], "t9", *made[at + 1 :]],
        ):
            assert first_difference(kept, folded(log(" ".join(other)))) is not None
        assert first_difference(kept, folded(log(" ".join(made)))) is None
    assert rounds > 50


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        ("repeat × *:;  read dev.s = 0;  read dev.c = *;read dev.s = 1", ["s1", "s0 c5 s0 c6 s1"], ["s0 s1", "s0 c5"]),
        ("repeat × +:;  read dev.s = 0;  read dev.c = *;read dev.s = 1", ["s0 c5 s1"], ["s1", "c5 s1"]),
        ("repeat x 2;\twrite dev.w = *;\tread dev.s = 0 × *;read dev.c = 5", ["W1 W2 c5", "W1 s0 s0 W2 c5"], ["W1 c5"]),
        ("repeat × *:;  repeat × +:;    read dev.s = 0;  write dev.w = 1", ["", "s0 W1 s0 s0 W1"], ["W1", "s0"]),
        ("repeat × 2:;  read dev.s = 0;  read dev.c = 5;", ["s0 c5 s0 c5"], ["s0 c5", "s0 c5 s0 c5 s0 c5"]),
    ],
)  # fmt: skip
def test_what_fits_a_loop(tmp_path: Path, text: str, good: list[str], bad: list[str]) -> None:
    path = tmp_path / "r.txt"
    path.write_text(text.replace(";", "\n"), encoding="utf-8")
    assert all(first_difference(recorded(path), folded(log(each))) is None for each in good), text
    assert not any(first_difference(recorded(path), folded(log(each))) is None for each in bad), text


def test_rounds_are_a_pattern_as_re_has_them(tmp_path: Path) -> None:
    """Random rounds of rounds and accesses, decided by Python's own matcher too."""
    chance, agreed, path = random.Random(5), [0, 0], tmp_path / "r.txt"

    def item(depth: int) -> tuple[list[str], str]:
        times = chance.choice(["", "2", "*", "+"])
        count = f"{{{times}}}" if times.isdigit() else times
        if depth and chance.random() < 0.6:
            inner = [item(depth - 1) for _ in range(chance.randint(1, 3))]
            head = f"repeat × {times or 1}:"
            return [
                head,
                *("  " + line for part, _ in inner for line in part),
            ], f"(?:{''.join(p for _, p in inner)}){count}"
        value = chance.choice("01*")
        return [f"read dev.s = {value}{f'  × {times}' if times else ''}"], f"{value if value != '*' else '.'}{count}"

    for _ in range(1500):
        parts = [item(2) for _ in range(chance.randint(1, 3))]
        text, pattern = "\n".join(line for part, _ in parts for line in part), "".join(p for _, p in parts)
        path.write_text(text, encoding="utf-8")
        accesses = "".join(chance.choice("001") for _ in range(chance.randint(0, 8)))
        expected = re.fullmatch(pattern, accesses) is not None
        made = folded(log(" ".join(f"s{each}" for each in accesses)))
        assert (first_difference(recorded(path), made) is None) == expected, (text, accesses)
        agreed[expected] += 1
    assert min(agreed) > 100


def test_a_difference_and_an_update_keep_loops(tmp_path: Path) -> None:
    """A round more is told as such; what was left open in a round stays open."""
    path = tmp_path / "r.txt"
    check(log("s0 c5 " * 5 + "s1 W1"), path, record=True, update=False)
    with pytest.raises(AssertionError) as differs:
        check(log("s0 c5 " * 6 + "s1 W1"), path, record=False, update=False)
    assert [line.rstrip() for line in str(differs.value).splitlines()[1:]] == [
        "  @@ access 0 @@", "  - repeat × 5:", "  -   read  dev.s = 0", "  -   read  dev.c = 5",
        "  + repeat × 6:", "  +   read  dev.s = 0", "  +   read  dev.c = 5", "    read  dev.s = 1",
        "    write dev.w = 1",
    ]  # fmt: skip
    left_open = "repeat × *:\n  read  dev.s = 0\n  read  dev.c = *\nread  dev.s = 1\n"
    path.write_text(left_open + "write dev.w = 1\n", encoding="utf-8")
    check(log("s0 c5 s0 c6 s0 c7 s1 W1"), path, record=False, update=False)
    with pytest.raises(AssertionError) as differs:
        check(log("s0 c5 s0 c6 s1 W2"), path, record=False, update=False)
    assert str(differs.value).splitlines()[1:][-2:] == ["  - write dev.w = 1", "  + write dev.w = 2"]
    check(log("s0 c5 s0 c6 s1 W2 c1 t2 c1 t2 c1 t2"), path, record=False, update=True)
    assert "\n".join(path.read_text(encoding="utf-8").splitlines()[1:]) == (
        left_open + "write dev.w = 2\nrepeat × 3:\n  read  dev.c = 1\n  read  dev.t = 2"
    )


ALTERNATING = (
    HEAD
    + """
int main(void)
{
	volatile uint32_t *at = registers();
	for (int i = 0; i < 4; i++) {
		at[2] = 7;
		while (!at[3])
			(void)at[1];
	}
	return 0;
}
"""
)
ROUNDS = """
class Ready(Timer):
    name = "timer"
    polls = 0
    def write_period(self, value):
        self.polls = 0
    def read_status(self):
        self.polls += 1
        return int(self.polls > 5)

@pytest.mark.device("/dev/mem@0xfe000000", Ready)
@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_polls(run, recording, guest_cc, target):
    recording(run(guest_cc("rounds.c", target=target)))
"""


def test_a_program_that_selects_and_polls(project: Project) -> None:
    """Rounds with a write, in each a poll of two registers, by x86_64 and i386."""
    (project.path / "rounds.c").write_text(ALTERNATING)
    project.run(ROUNDS, "--nopage-record").assert_outcomes(passed=2)
    for target in ("x86_64", "i386"):
        text = (project.path / NAME.format(target)).read_text(encoding="utf-8")
        assert [re.sub(r" +# main rounds\.c:\d+$", "", line) for line in text.splitlines()[1:]] == [
            "repeat × 4:", "  write timer.period = 7", "  repeat × 5:", "    read  timer.status = 0",
            "    read  timer.count = 0x2a (42)", "  read  timer.status = 1",
        ]  # fmt: skip
        assert len(re.findall(r"# main rounds\.c:\d+$", text, re.M)) == 4
    project.run(ROUNDS).assert_outcomes(passed=2)


def test_a_hundred_thousand_polls(tmp_path: Path) -> None:
    accesses = log("s0 " * 100_000 + "s1 W1")
    (tmp_path / "r.txt").write_text(
        "read dev.s = * × *\nread dev.s = 0 × *\nread dev.s = 1\nwrite dev.w = 1\n", "utf-8"
    )
    started = time.process_time()
    assert first_difference(recorded(tmp_path / "r.txt"), folded(accesses)) is None
    assert [str(line) for line in folded(accesses)] == [
        "read  dev.s = 0  × 100000",
        "read  dev.s = 1",
        "write dev.w = 1",
    ]
    assert time.process_time() - started < 20
    assert str(accesses).splitlines()[0].endswith("process 2, 100000 times") and str(accesses).count("\n") == 2
