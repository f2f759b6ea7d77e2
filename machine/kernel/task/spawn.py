"""The first processes: init without a user side, and the programs that the user starts."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional, Union

from machine.events import TaskEvent
from machine.kernel.abi.errno import EACCES, ENOENT, ENOTDIR, Errno
from machine.kernel.abi.layout import ABI64
from machine.kernel.abi.signal import SIG_IGN, SIGCHLD, SIGINT, SIGKILL, SIGQUIT, SIGTSTP, SIGWINCH
from machine.kernel.fs.buffers import buffer_input, buffer_output
from machine.kernel.fs.fdtable import files_struct, fs_struct
from machine.kernel.fs.file import O_LARGEFILE, O_RDONLY, file
from machine.kernel.fs.hostbind import bind_root
from machine.kernel.fs.hostio import host_file
from machine.kernel.fs.namei import lookup, open_file
from machine.kernel.fs.rootfs import mount
from machine.kernel.fs.tty import take_host_terminal
from machine.kernel.mm.space import mm_struct
from machine.kernel.task.exec import load_program
from machine.kernel.task.exit import do_exit
from machine.kernel.task.sighand import SIGNAL_UNKILLABLE, sighand_struct, signal_struct
from machine.kernel.task.signal import fatal_signal_pending, send_signal
from machine.kernel.task.task import EXIT_DEAD, EXIT_ZOMBIE, TASK_INTERRUPTIBLE, Overrun, Task, task_struct

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.tty.console import Console

CLOSED = -1
"""Instead of a descriptor: the program does not have it."""
SPAWN_FAILED = 127 << 8
KILL_SECONDS = 10.0
"""Host time that processes which were killed have to end: one that sleeps uninterruptibly may not."""
_SETTLING = 5
"""Times the seconds of `settle` of processor time: Python takes one to end, on a slow computer more."""
KEYS = (SIGINT, SIGQUIT, SIGTSTP, SIGWINCH)
"""What a terminal sends to its foreground group."""


class Spawned:
    """A process that the user started: its outputs while it runs, its status when it has ended."""

    def __init__(self, task: Task, argv0: str) -> None:
        self.task = task
        self.pid = task.pid
        self.argv0 = argv0
        self.error: Optional[Errno] = None
        """Why the program could not be started."""
        self.status: int = 0
        """As wait4 gives it, once `ended`."""
        self.ended = False
        self.outputs: dict[int, Any] = {}
        self.tasks: list[str] = []
        """When its time was over: what every task did."""

    def output(self, fd: int) -> bytes:
        """What was written to descriptor 1 or 2 so far, where it is collected."""
        collected = self.outputs.get(fd)
        return b"" if collected is None else bytes(collected)


def make_init(kernel: Kernel) -> Task:
    """Process 1: parent of every program, reaper of orphans; it never runs user code."""
    init = task_struct(kernel, 1, 1)
    init.comm = "init"
    init.abi = ABI64
    init.state = TASK_INTERRUPTIBLE
    init.files = files_struct(kernel)
    init.fs = fs_struct(kernel.root, kernel.root)
    init.sighand = sighand_struct()
    init.sighand.action[SIGCHLD].handler = SIG_IGN  # so its children vanish by themselves
    init.signal = signal_struct(init)
    init.signal.flags = SIGNAL_UNKILLABLE
    kernel.init_task = kernel.tasks[1] = init
    return init


def spawn(
    kernel: Kernel,
    argv: list[bytes],
    envp: list[bytes],
    *,
    stdin: Union[int, bytes, file, None],
    stdout: Optional[int],
    stderr: Optional[int],
    cwd: Optional[str],
    user: tuple[int, int],
    path: str,
    terminal: Optional[Console] = None,
) -> Spawned:
    """A new process, child of init and leader of its own session; it runs when the scheduler does.

    With a `terminal` that is all three of its descriptors.
    Errno(ENOMEM) where there is no frame even for its root of page tables.
    """
    init = kernel.init_task
    pid = kernel.take_pid()
    task = task_struct(kernel, pid, pid)
    task.comm = os.path.basename(os.fsdecode(argv[0]))[:15]
    task.abi = ABI64
    task.parent = init
    task.uid = task.euid = user[0]
    task.gid = task.egid = user[1]
    task.groups = [user[1]] if user[0] else []  # as login(1) leaves them
    task.files = files_struct(kernel)
    task.fs = fs_struct(kernel.root, kernel.root)
    task.sighand = sighand_struct()
    for signo in kernel.ignored_signals:
        task.sighand.action[signo].handler = SIG_IGN
    task.signal = signal_struct(task)
    task.signal.session_leader = True
    task.mm = mm_struct(kernel, 64)
    task.image = bytearray(kernel.cpu.image)
    task.start_time = kernel.clock.monotonic_ns()
    init.children.append(task)
    kernel.tasks[pid] = task
    spawned = Spawned(task, os.fsdecode(argv[0]))
    kernel.spawned[pid] = spawned
    if terminal is None:
        _standard_files(kernel, task, spawned, stdin, stdout, stderr)
        take_host_terminal(kernel, task)
    else:
        terminal.give(task)
    show_program(kernel, task, os.fsdecode(argv[0]))
    task.start = (_start, (kernel, task, spawned, argv, envp, cwd, path))
    if kernel.events.task is not None:
        kernel.events.task(TaskEvent(pid, task.comm, "spawn", " ".join(map(os.fsdecode, argv))))
    kernel.sched.add(task)
    return spawned


def _standard_files(
    kernel: Kernel, task: Task, spawned: Spawned, stdin: Union[int, bytes, file, None], stdout: Optional[int],
    stderr: Optional[int],
) -> None:  # fmt: skip
    if isinstance(stdin, file):
        task.files.install(stdin, 0)
    elif not isinstance(stdin, int):
        task.files.install(buffer_input(kernel, stdin or b""), 0)
    elif stdin != CLOSED:
        task.files.install(host_file(kernel, stdin), 0)
    for fd, host in ((1, stdout), (2, stderr)):
        if host is None:
            filp, collected = buffer_output(kernel)
            spawned.outputs[fd] = collected
            task.files.install(filp, fd)
        elif host != CLOSED:
            task.files.install(host_file(kernel, host), fd)


def _start(
    kernel: Kernel, task: Task, spawned: Spawned, argv: list[bytes], envp: list[bytes], cwd: Optional[str], path: str
) -> None:
    """Runs on the new task's kernel stack: go to the directory, find the program, load it."""
    try:
        _change_directory(kernel, task, cwd)
        load_program(kernel, task, find_program(kernel, task, os.fsdecode(argv[0]), path), argv, envp)
    except Errno as error:
        if fatal_signal_pending(task):  # that is what it ends of
            return
        spawned.error = error
        do_exit(kernel, task, SPAWN_FAILED)


def _change_directory(kernel: Kernel, task: Task, cwd: Optional[str]) -> None:
    """The directory that was asked for, else the host's current one where the guest sees it, else /."""
    try:
        task.fs.cwd = lookup(kernel, task, cwd if cwd is not None else os.getcwd())
    except (Errno, OSError):
        if cwd is not None:
            raise


def show_program(kernel: Kernel, task: Task, name: str) -> None:
    """A program named by a path of the host that the guest's root lacks appears there, read-only, alone."""
    path = os.path.abspath(name)
    if "/" not in name or not os.path.isfile(path):
        return
    try:
        lookup(kernel, task, path)
    except Errno as missing:
        if missing.errno not in (ENOENT, ENOTDIR):
            return
        node, tree = bind_root(kernel, kernel.vfs.new_dev(), path, False)
        kernel.vfs.trees.append(tree)
        mount(kernel, path, node, "ext4", path)


def find_program(kernel: Kernel, task: Task, name: str, path: str) -> str:
    """`name` itself when it has a ``/``, else the first match in `path` (execvp)."""
    if "/" in name:
        return name
    denied = False
    for directory in path.split(":"):
        candidate = f"{directory or '.'}/{name}"
        try:
            node = lookup(kernel, task, candidate).d_inode
        except Errno as error:
            denied = denied or error.errno == EACCES
            if error.errno not in (ENOENT, ENOTDIR, EACCES):
                raise
            continue
        if node.i_mode & 0o170000 == 0o100000 and node.i_mode & 0o111:
            return candidate
        denied = True
    raise Errno(EACCES if denied and not name else ENOENT)


def wait_status(
    kernel: Kernel, spawned: Spawned, timeout: Optional[float], max_ticks: Optional[int],
    describe: Callable[[], list[str]],
) -> bool:  # fmt: skip
    """Run the machine until the process has ended; False when `timeout` seconds passed first, or `max_ticks` of the
    repeatable processor: then `describe` says what each task was doing, and all are killed.

    A process that can never run again (everybody sleeps and nothing can wake them) is killed.
    """
    sched = kernel.sched
    sched.lockup = None
    deadline = None if timeout is None else sched.deadline or sched.host_deadline(timeout)
    expired = False
    clock = kernel.clock
    last_tick = sys.maxsize if max_ticks is None else clock.ticks + max_ticks

    def until() -> bool:
        nonlocal expired
        expired = (deadline is not None and deadline.passed) or clock.ticks >= last_tick
        return spawned.ended or expired or kernel.halted is not None or kernel.bus.broken

    place = ""
    while not spawned.ended:
        try:
            sched.run(until)
        except Overrun as failure:
            place, expired = failure.place, kernel.halted is None
        if expired or spawned.ended or kernel.halted is not None or kernel.bus.broken:
            break
        from machine.kernel.task.where import what_tasks_do

        kernel.warn(f"{spawned.task.comm}: all tasks sleep and nothing can wake them; killed", 3)
        for line in what_tasks_do(kernel):
            kernel.warn(line, 3)
        send_signal(kernel, spawned.task, SIGKILL, None)
    if deadline is not None and (expired or deadline is not sched.deadline):
        deadline.cancel()
    if spawned.ended or not (expired or kernel.bus.broken):
        return True
    if expired:
        spawned.tasks = ([f"the kernel was broken off{place}"] if place else []) + describe()
    kill_everything(kernel)
    return False


def kill_everything(kernel: Kernel) -> None:
    """End every process at once (the end of the machine, or a timeout)."""
    if not _alive(kernel):
        return
    before, kernel.interruptible = kernel.interruptible, False  # nothing from outside is worth waiting for
    deadline = kernel.sched.host_deadline(KILL_SECONDS)  # a driver's timer that starts itself again never ends
    try:
        for _attempt in range(1000):
            kill_all(kernel)
            if not _alive(kernel):
                return
            kernel.sched.run(lambda: deadline.passed or not _alive(kernel))
            if deadline.passed:
                return
    except Overrun:
        return
    finally:
        deadline.cancel()
        kernel.interruptible = before


def kill_all(kernel: Kernel) -> None:
    """SIGKILL for every process; they end when they are scheduled."""
    for task in _alive(kernel):
        send_signal(kernel, task, SIGKILL, None)


def settle(kernel: Kernel, seconds: float) -> None:
    """Let the processes that are left come to their end: until hardly anybody has run for `seconds` of host time, or
    those that do have taken some times that of the processor."""
    end = time.thread_time() + _SETTLING * seconds
    while _are_at_work(kernel, seconds) and time.thread_time() < end:
        pass


def _are_at_work(kernel: Kernel, seconds: float) -> bool:
    """Run for `seconds` of host time: whether processes are left then, and have not only slept."""
    before, deadline = time.thread_time(), kernel.sched.host_deadline(seconds)
    try:
        kernel.sched.run(lambda: deadline.passed or not _alive(kernel))
    except Overrun:
        return False
    finally:
        deadline.cancel()
    return deadline.passed and time.thread_time() - before >= seconds / 20


def _alive(kernel: Kernel) -> list[Task]:
    return [t for t in kernel.tasks.values() if t.pid != 1 and t.state not in (EXIT_ZOMBIE, EXIT_DEAD)]


def signal_foreground(kernel: Kernel, signo: int) -> None:
    """What Ctrl-C on the terminal does: signal its foreground group, which a shell with job control has set
    (TIOCSPGRP); without one, and for what is no key, the groups that the user started and that still run."""
    groups = {spawned.pid for spawned in kernel.spawned.values() if not spawned.ended}
    leaders = [task for task in kernel.tasks.values() if task.tgid == task.pid]
    if signo in KEYS and any(task.signal.pgrp == kernel.vfs.foreground for task in leaders):
        groups = {kernel.vfs.foreground}
    for task in leaders:
        if task.signal.pgrp in groups:
            send_signal(kernel, task, signo, None)


def open_for_kernel(kernel: Kernel, path: str) -> file:
    """A file of the guest, opened by the kernel itself."""
    return open_file(kernel, kernel.init_task, path, O_RDONLY | O_LARGEFILE, 0)
