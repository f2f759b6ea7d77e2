"""Sequences of system calls, as strace and our own view write them, made comparable.

Tasks are matched by descent (the second child of the first child of the program is ``1.1.2``), so that it doesn't
matter who runs when.  What differs from run to run on one computer is replaced: addresses by ADDRESS, process numbers
by the task's place, random bytes, times and the machine's name by ``...``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from machine.machine import Machine
from machine.observe.output import Output
from machine.observe.strace import Strace

UNSEEN = frozenset({"clock_gettime", "clock_gettime64", "gettimeofday", "time", "getcpu"})
"""The vDSO answers these: natively they are not seen, here in some cases."""
RACING = frozenset({
    "futex", "futex_time64", "sched_yield", "restart_syscall", "rt_sigreturn", "sigreturn", "nanosleep",
    "clock_nanosleep", "clock_nanosleep_time64", "munmap",
})  # fmt: skip
"""How often they happen, or what they return, depends on who was faster, or on where the heap happens to be."""
UNTOLD = frozenset({"SIGCHLD", "SIGCONT", "SIGURG", "SIGWINCH"})
"""Signals that come when they come, or that only a tracer sees; like those that the program ignores."""
FORKS = frozenset({"clone", "clone3", "fork", "vfork"})
_GIVES_TASK = FORKS | {
    "wait4", "waitid", "waitpid", "getpid", "gettid", "getpgid", "getpgrp", "getsid", "setsid", "set_tid_address",
    "getppid",
}  # fmt: skip
_TAKES_TASK = {
    name: re.compile(pattern)
    for names, pattern in (
        ("kill tkill wait4 waitpid getpgid getsid pidfd_open prlimit64 rt_sigqueueinfo", r"(?<=\(-)\d+|(?<=\()\d+"),
        ("tgkill setpgid rt_tgsigqueueinfo", r"(?<=\()\d+|(?<=, )\d+"),
        ("waitid", r"(?<=P_PID, )\d+|(?<=P_PGID, )\d+"),
        ("ioctl", r"(?<=PGRP, \[)\d+"),
    )
    for name in names.split()
}
"""Where the arguments of a call have numbers of tasks."""
_CHANGING = re.compile(r"/proc/|/sys/|/dev/u?random")
"""Files whose contents are the machine's, or nobody's."""
_SUBSTITUTIONS = (
    (re.compile(r"\b0x[0-9a-f]{5,}\b"), "ADDRESS"),
    (re.compile(r"\b(si_utime|si_stime|si_status_time)=\d+"), r"\1=..."),
    (re.compile(r"\b(tv_sec|tv_nsec|tv_usec)=\d+"), r"\1=..."),
    (re.compile(r"\b(ru_utime|ru_stime)=\{.*?\}.*?\.\.\.\}"), r"\1=...}"),
)
_WHOLE = {
    "brk": re.compile(r"(?<=brk\().*"),
    "getrandom": re.compile(r'(?<=getrandom\()"[^"]*"(?:\.\.\.)?'),
    "uname": re.compile(r"(?<=uname\()\{.*\}"),
    "sysinfo": re.compile(r"(?<=sysinfo\().*(?=\) = )"),
    "sched_getaffinity": re.compile(r"(?<=, ).*"),
    "getrusage": re.compile(r"\{.*\}"),
    "_llseek": re.compile(r"(?<=, ).*?(?=, (?:0x|\[))"),
    "times": re.compile(r"(?<=times\().*"),
}
"""Calls of which a part says nothing about the program."""


@dataclass
class Process:
    """The calls of one task, in order."""

    place: str
    lines: list[str] = field(default_factory=list)


class _Numbered(Strace):
    """Our view with the task's number in front of every line, as strace -f -o writes it."""

    def _prefix(self, pid: int) -> str:
        return f"{pid} "


def watch_calls(machine: Machine) -> Callable[[], str]:
    """Record a machine's system calls; returns what ends that and gives the text."""
    stream = io.StringIO()
    view = _Numbered(machine.events, Output(stream))

    def text() -> str:
        view.close()
        return stream.getvalue()

    return text


def processes(text: str) -> list[Process]:
    """The tasks of a recording, by place, with normalised lines."""
    raw = _whole_lines(text)
    if not raw:
        return []
    root = next(iter(raw))
    places: dict[str, str] = {root: "1"}
    _name_children(root, raw, places)
    return [Process(place, list(_normalised(raw[pid], places))) for pid, place in sorted(places.items(), key=_by_place)
            if pid in raw]  # fmt: skip


def _by_place(item: tuple[str, str]) -> list[int]:
    return [int(number) for number in item[1].split(".")]


def _whole_lines(text: str) -> dict[str, list[str]]:
    """pid -> its lines; calls that others interrupted are joined again."""
    lines: dict[str, list[str]] = {}
    begun: dict[str, str] = {}
    for line in text.splitlines():
        match = re.match(r"(\d+) +(.*)", line)
        if match is None:
            continue
        pid, rest = match.groups()
        own = lines.setdefault(pid, [])
        if rest.endswith("<unfinished ...>") and not rest.startswith("<..."):
            begun[pid] = rest[: -len("<unfinished ...>")].rstrip()
            continue
        resumed = re.match(r"<\.\.\. \w+ resumed>(.*)", rest)
        if resumed and pid in begun:
            head, tail = begun.pop(pid), resumed[1].lstrip()
            gap = " " if head.endswith(",") and not tail.startswith(")") else ""
            rest = head + gap + tail
        own.append(rest)
    for pid, head in begun.items():  # what ends in it: exit_group, a blocked call
        lines[pid].insert(len(lines[pid]) - 1 if lines[pid] and lines[pid][-1].startswith("+++") else len(lines[pid]),
                          head + ") = ?")  # fmt: skip
    return lines


def _name_children(pid: str, raw: dict[str, list[str]], places: dict[str, str]) -> None:
    count = 0
    for line in raw.get(pid, ()):
        name = line.split("(", 1)[0]
        made = re.search(r"\) += (\d+)$", line) if name in FORKS else None
        if made and made[1] not in places:
            count += 1
            places[made[1]] = f"{places[pid]}.{count}"
            _name_children(made[1], raw, places)


def _normalised(lines: Iterable[str], places: dict[str, str]) -> Iterable[str]:
    def place(match: re.Match[str]) -> str:
        return f"TASK{places[match[0]]}" if match[0] in places else match[0]

    changing: set[str] = set()  # descriptors of files that are never alike
    ignored = set(UNTOLD)
    for line in lines:
        name = line.split("(", 1)[0]
        if name == "rt_sigaction" and (action := re.match(r"rt_sigaction\((\w+), \{sa_\w+=(\w+)", line)):
            (ignored.add if action[2] == "SIG_IGN" else ignored.discard)(action[1])
            ignored |= UNTOLD
        signal = re.match(r"--- (\w+)", line)
        if name in UNSEEN or name in RACING or (signal and signal[1] in ignored) or line.startswith("--- stopped"):
            continue
        if re.search(r"= \?(?: ERESTART.*)?$", line) and not name.startswith("exit"):
            continue  # made again, or EINTR for a handler that shows; or the task was ended in it
        line = re.sub(r"\) += ", ") = ", line)
        _follow_descriptors(name, line, changing)
        if name in ("read", "pread64") and line[len(name) + 1 :].split(",", 1)[0] in changing:
            line = re.sub(r"(?<=, ).*", "...", line)
        if name in _TAKES_TASK:
            line = _TAKES_TASK[name].sub(place, line)
        if name == "getppid" and "1" in places.values():
            line = re.sub(r"= \d+$", lambda match: f"= {places.get(match[0][2:], 'OUTSIDE')}", line)
        elif name in _GIVES_TASK:
            line = re.sub(r"(?<= = )\d+$", place, line)
        line = re.sub(r"(?<=si_pid=)\d+|(?<=l_pid=)\d+|(?<=/proc/)\d+", place, line)
        if name in _WHOLE:
            line = _WHOLE[name].sub("...", line, count=1)
        for pattern, instead in _SUBSTITUTIONS:
            line = pattern.sub(instead, line)
        yield line


def _follow_descriptors(name: str, line: str, changing: set[str]) -> None:
    if name in ("open", "openat"):
        fd = line.rsplit(" = ", 1)[-1]
        path = re.search(r'"([^"]*)"', line)
        changing.discard(fd)
        if path and _CHANGING.match(path[1]):
            changing.add(fd)


def alike(one: str, other: str) -> bool:
    """Whether two normalised lines say the same, as far as both say it.

    Name and result have to be the same; an argument that one side shows as an address, cut, or as a bare number
    where the other has names, says nothing.
    """
    if one == other:
        return True
    if one.startswith("---") and other.startswith("---"):
        return one.split()[1] == other.split()[1]
    calls = [re.fullmatch(r"(\w+)\((.*)\) = (.*)", line) for line in (one, other)]
    if calls[0] is None or calls[1] is None or calls[0][1] != calls[1][1]:
        return False
    results = [call[3].split(" (", 1)[0] if call else "" for call in calls]
    values = [_number(result) for result in results]
    if "?" not in results and results[0] != results[1] and (None in values or values[0] != values[1]):
        return False
    arguments = [_arguments(re.sub(r" /\*.*?\*/", "", call[2] if call else "")) for call in calls]
    return all(_argument_alike(a, b) for a, b in zip(*arguments, strict=False))


def _arguments(text: str) -> list[str]:
    """The arguments of a call: parted at commas outside of quotes and brackets."""
    found, depth, quoted = [""], 0, False
    for match in re.finditer(r"\\.|.", text):
        each = match[0]
        if each == '"':
            quoted = not quoted
        elif not quoted:
            depth += (each in "([{") - (each in ")]}")
            if each == "," and depth == 0:
                found.append("")
                continue
        found[-1] += each
    return [each.strip() for each in found]


def _argument_alike(one: str, other: str) -> bool:
    if one == other or any("ADDRESS" in each or "..." in each or "_IOC(" in each for each in (one, other)):
        return True
    numbers = [_number(each) for each in (one, other)]
    if None not in numbers:
        return numbers[0] == numbers[1]
    if numbers != [None, None] or {one, other} == {"NULL", "[]"}:
        return True  # a number, and its name or what it points to
    flags = [each.split("|") for each in (one, other)]
    if any(_number(flag) is not None for flag in (*flags[0], *flags[1])):
        return True
    if one.startswith("{") and _fields(one) != _fields(other):
        return True
    return sorted(flags[0]) == sorted(flags[1]) or one.partition(" => ")[0] == other.partition(" => ")[0]


def _fields(text: str) -> list[str]:
    """The names in a structure: one side may show it in another way."""
    return re.findall(r"\w+(?==)", text)


def _number(text: str) -> int | None:
    """An argument's value modulo 2**64; None for what is no number."""
    if not re.fullmatch(r"-?(0x[0-9a-f]+|\d+)", text):
        return None
    octal = re.fullmatch(r"0[0-7]+", text)
    return int(text, 8 if octal else 0) % (1 << 64)
