"""The machine: board, kernel, drivers and observers put together; the public Python interface.

from machine import Machine

with Machine(devices=["scullp"]) as m:
    result = m.run(["mapper", "/dev/scullp0", "0", "140"])
    print(result.exit, result.stdout)
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Optional, Union

from machine.cores import Cores
from machine.defaults import DEFAULT_RAM, WITH_HARDWARE, default_environment, demo_programs
from machine.errors import ConfigError, NopageError, NotBack, is_the_users, refusing
from machine.events import Events
from machine.hardware.ram import Ram
from machine.kernel.abi.errno import Errno
from machine.kernel.current import set_current_kernel
from machine.kernel.fs.export import changed_names, save_layer
from machine.kernel.kernel import Kernel
from machine.kernel.task.spawn import kill_everything, settle
from machine.kernel.task.task import Overrun
from machine.programs import Programs, Result

if TYPE_CHECKING:
    from machine.hardware.cpu import Cpu
    from machine.screen import Picture

__tracebackhide__ = is_the_users

SETTLE_SECONDS = 1.0
_closed: weakref.WeakSet[Cpu] = weakref.WeakSet()
"""Processors of closed machines that Python has not freed yet: in cycles, with an engine of a megabyte each."""
_collect_at = 16
KERN_ERR = 3

__all__ = ["Machine", "Result"]


class Machine(Programs):
    """One machine.  A context manager: leaving it ends every process and frees everything.

    `ram` is in bytes, a multiple of 2 MiB from 16 MiB to 16 GiB.  `root` is a directory of the host
    to be the guest's whole root; None shows the host's system directories and the current directory,
    read-only below a layer in memory.  `binds` are (host path, guest path, writable), and True
    where owners and set-user-ID bits may be set there too.  `devices` are
    drivers by name or path with parameters: ``"scullp,scullp_qset=100"``, ``"./my_driver.py"``.  `modules` are drivers
    by path that are not loaded, but that the guest can load; those that come with nopage it always can.  `reload`
    takes up an edited driver at the next open of its device.
    `board` is a board by name or by its file (``nopage boards``); None is ``ldd3-pc``.
    `export` is a directory of the host that gets what the guest wrote to its layer, at the end.
    `core` is a directory of the host for the cores of programs that die of a signal, without a limit on their size; the
    last component may say what they are called: ``"cores/%e.%p"``.
    `deterministic` runs on a virtual clock.  `interruptible` says that somebody will call `interrupt`:
    without it a machine whose processes all sleep for ever is stuck, and they are killed.
    `batch_faults` lets one fault map several anonymous pages while nobody watches faults: quicker, and invisible to the
    guest; never with `deterministic`.
    `max_tasks` is how many processes and threads the guest may have at a time; None: what Linux allows with this RAM.
    `max_memory`: bytes that the whole Python process may have of the host's memory, RAM included; above it the process
    with most is killed, and at last the machine stopped.  `max_output`: bytes that all programs may write to the files
    that `spawn` gives them, then the machine is stopped: LimitReached.  `max_cores`: bytes of all cores in `core`.
    `patience`: seconds that drivers' init and exit, models' `__init__`, and what `raise_irq` calls may take: NotBack.
    `check_invariants` examines the address space after every change and fails loudly: for tests.
    """

    def __init__(
        self,
        *,
        ram: int = DEFAULT_RAM,
        root: Union[str, Path, None] = None,
        binds: Sequence[Union[tuple[str, str, bool], tuple[str, str, bool, bool]]] = (),
        devices: Sequence[str] = (),
        modules: Sequence[str] = (),
        board: Optional[str] = None,
        reload: bool = False,
        deterministic: bool = False,
        user: tuple[int, int] = (0, 0),
        env: Optional[Mapping[str, str]] = None,
        export: Optional[str] = None,
        core: Optional[str] = None,
        interruptible: bool = False,
        check_invariants: bool = False,
        batch_faults: bool = False,
        max_tasks: Optional[int] = None,
        max_memory: int = 0,
        max_output: Optional[int] = None,
        max_cores: Optional[int] = None,
        patience: Optional[float] = None,
    ) -> None:
        self.patience = patience
        self.events = Events()
        try:
            memory = Ram(ram)
        except ValueError as why:
            raise ConfigError(str(why)) from None
        from machine import boards
        from machine.hardware.board import BoardError

        try:
            self.kernel = Kernel(memory, self.events, boards.load(board, ram), deterministic, check_invariants)
        except BoardError as error:
            raise boards.explain(error, board) from None
        self.kernel.interruptible = interruptible
        self.kernel.batch_faults = batch_faults and not deterministic
        self.kernel.coredump = self.cores = Cores(self.kernel, self.read_file, core, max_cores)
        self.kernel.max_memory, self.kernel.output_left = max_memory, max_output
        if max_tasks is not None:
            self.kernel.max_threads = max_tasks + 1  # and init
        self.user = user
        self.env = dict(env) if env is not None else default_environment()
        self.export = export
        self.commands: list[list[str]] = []
        """The programs that were started, in order."""
        self.options: dict[str, Any] = {
            "board": board, "devices": list(devices), "binds": list(binds), "deterministic": deterministic,
        }  # fmt: skip
        """What it was made with, and what was attached: for the command that makes such a machine again."""
        self.lacking: Callable[[], Sequence[str]] = list
        """What was done to it that such a command can't say: words for people."""
        self.on_run: Optional[Callable[[bool], None]] = None
        """Called when programs that somebody holds go on (True), and when they stand again."""
        self._closed = False
        try:
            self._boot(root, binds, devices, modules)
            if reload:
                from machine.kernel.reload import Reloader

                self.kernel.before_open = Reloader(self.kernel)
        except Errno as error:  # a bind is where the system has something of another kind
            self._release()
            shown = ", ".join(f"{host}:{guest}" for host, guest, *_ in binds) or str(root)
            raise ConfigError(f"{shown}: the system can't start with that: {os.strerror(error.errno)}") from None
        except BaseException:
            self._release()
            raise

    def _boot(
        self,
        root: Union[str, Path, None],
        binds: Sequence[Union[tuple[str, str, bool], tuple[str, str, bool, bool]]],
        devices: Sequence[str],
        modules: Sequence[str],
    ) -> None:
        from machine.kernel.fs.lib_modules import publish_modules
        from machine.kernel.fs.rootfs import Bind, RootView, mount_root, show_programs
        from machine.kernel.modfile import ModuleError
        from machine.kernel.task.spawn import make_init

        kernel = self.kernel
        view = RootView(
            root=None if root is None else str(root),
            cwd=os.getcwd(),
            binds=[Bind(*bind) for bind in binds],
            user=self.user,
        )
        try:
            mount_root(kernel, view)
        except OSError as error:
            raise ConfigError(f"{error.filename or root}: {error.strerror}") from None
        make_init(kernel)
        for directory, suffix in demo_programs():
            show_programs(kernel, directory, suffix=suffix)
        try:
            publish_modules(kernel, modules)
        except ModuleError as error:
            raise ConfigError(str(error)) from None
        self.load("mem")
        for device in devices:
            if device.partition(",")[0] in WITH_HARDWARE:
                from machine.cards import bring

                device = bring(self, device)
            self.load(device)
        self.baseline = kernel.mem.used_frames() if kernel.check_invariants else {}
        """Frames in use after boot, by owner; `check_clean` compares with it."""

    # -- drivers ---------------------------------------------------------------------------------

    def load(self, device: str) -> Any:
        """Load a driver (``NAME[,param=value]...`` or a path); returns its module.  ConfigError, with what the driver
        said, if it can't be."""
        from machine.kernel.insmod import ModuleError, load_module

        log = self.kernel.log
        before = log.next_seq
        try:
            with self.in_time():
                return load_module(self.kernel, device)
        except ModuleError as error:
            texts = [line.text for line in log.since(before) if line.level <= KERN_ERR]
            said = [text for text in texts if not text.startswith("insmod: ")]
            raise ConfigError("; ".join([str(error), *said])) from None

    def unload(self, name: str) -> list[str]:
        """Unload a driver; what it did not give back, a line each.  ConfigError: not loaded, or in use."""
        from machine.kernel.insmod import unload_module

        try:
            with self.in_time():
                return unload_module(self.kernel, name)
        except Errno as error:
            raise ConfigError(f"{name}: {os.strerror(error.errno)}") from None

    def in_time(self) -> InTime:
        """While in it, drivers and models that no program has called have `patience` to come back: NotBack."""
        return InTime(self)

    def attach(self, where: str, model: Any, /, **arguments: Any) -> Any:
        """Put a device model (`machine.testing.RegisterBlock`: a class, or an object) where programs find it.

        `where` is ``/dev/mem@0xfe000000``, ``/dev/uio0``, ``/dev/NAME``, ``pci:1234:11e8/bar0`` or a driver of yours,
        ``./driver.py,base={address}`` (machine/attach.py has the rest).  `arguments` are the class's.  The object is
        given back.  ConfigError: there is no such place, or it is taken; RegisterError: that is no model.
        """
        from machine.attach import attach

        __tracebackhide__ = True
        with self.entered(), self.in_time():
            return attach(self, where, model, arguments)

    def waves(self, path: Union[str, Path], make: Optional[Callable[[str], IO[str]]] = None) -> Any:
        """Write registers, fields and interrupt lines of the devices that are attached now to a VCD file, until the
        `close` of what is given back, or the machine's; `make` opens it in another way.  ConfigError: no device, or
        pyvcd is not installed."""
        from machine.observe.waves import Waves

        with refusing():
            return Waves(self.kernel, str(path), make)

    def plug(self, card: Any, slot: str) -> None:
        """Put a card (`machine.testing.PciFunction`) into a slot, ``"00:04.0"`` or ``"0000:01:02.0"``.  ConfigError."""
        from machine.kernel.pci.setup import plug

        with self.entered(), refusing(slot):
            plug(self.kernel, card, slot)

    def raise_irq(self, irq: int) -> None:
        """An edge on interrupt line `irq`, 0 to 223, as a device makes it.

        Any thread may call this while the machine runs.  A machine that is to sleep until such an interrupt comes
        is made with ``interruptible=True``: else it is taken for stuck.  ConfigError: there is no such line.
        """
        with self.entered(), refusing(), self.in_time():
            self.kernel.irq.raise_irq(irq)

    # -- looking at it --------------------------------------------------------------------------------

    def read_file(self, path: str) -> bytes:
        """The contents of a file of the guest.  FileNotFoundError and the like."""
        from machine.kernel.fs.read_write import kernel_read_file
        from machine.kernel.task.spawn import open_for_kernel

        with self.entered():
            try:
                opened = open_for_kernel(self.kernel, path)
                try:
                    return kernel_read_file(opened)
                finally:
                    opened.put()
            except Errno as error:
                raise OSError(error.errno, os.strerror(error.errno), path) from None

    def picture(self) -> Optional[Picture]:
        """What is on the screen: width, height, and red, green and blue bytes; None on a board without a display."""
        from machine.screen import Screen

        with self.entered():
            return Screen(self.kernel).look()

    def screenshot(self, path: Union[str, Path]) -> None:
        """Write the screen to a file, a PNG or a GIF.  ConfigError: no display, another kind of file; OSError."""
        from machine.config import parse_screen
        from machine.screen.files import save

        with refusing():
            name = parse_screen(os.fspath(path))
        picture = self.picture()
        if picture is None:
            raise ConfigError("the board has no display")
        save(picture, name)

    @property
    def limits(self) -> dict[str, int]:
        """Limits that the guest has met since boot (memory, tasks, RLIMIT_AS, ...), in words, and how often."""
        return dict(self.kernel.limits)

    @property
    def dmesg(self) -> list[str]:
        """The kernel's log, a line each."""
        return self.kernel.log.lines()

    def check_clean(self) -> list[str]:
        """What is wrong after all programs ended: lost frames, counts, free lists, a device model that has raised and
        nobody has heard of it; empty when clean.

        Processes that outlive the one that was waited for have a second to end.
        """
        from machine.kernel.clean import check_clean

        with self.entered():
            settle(self.kernel, SETTLE_SECONDS)
            complaints = check_clean(self.kernel, self.baseline)
        if self.kernel.bus.failures:  # of a program that nobody has waited for
            from machine.failures import device_failure

            complaints.append(str(device_failure(self, None)))
        return complaints

    # -- the end -----------------------------------------------------------------------------------------

    def entered(self) -> _Entered:
        """While in it, this machine's kernel is the thread's current one.  NopageError: it is closed."""
        if self._closed:
            raise NopageError("the machine is closed")
        return _Entered(self.kernel)

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return self._closed

    def close(self) -> None:
        """End every process and give everything back.  Twice is fine.  OSError: what programs wrote to a ``:rw`` bind
        could not be brought to the host (a full disk), or not the files of `export`.

        The drivers go with the machine, without their exit functions: `unload` runs one, and tells what it leaves.
        """
        if self._closed:
            return
        try:
            with self.entered():
                kill_everything(self.kernel)
                if self.export is not None:
                    save_layer(self.kernel, self.export)
        finally:
            self._release()

    def changed_files(self) -> tuple[list[str], list[str]]:
        """What the guest did to its own layer of the root, which goes with the machine (see `export`):
        (paths that it made or changed, paths that it removed)."""
        return changed_names(self.kernel)

    def _release(self) -> None:
        self._closed = True
        failure = self.kernel.close()
        self.kernel.ram.discard()
        _closed.add(self.kernel.cpu)
        if len(_closed) >= _collect_at:
            _free_closed()
        if failure is not None:
            raise failure

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()


def _free_closed() -> None:
    """A test suite makes thousands of machines and few other objects: Python would not look for cycles often enough."""
    global _collect_at
    import gc

    gc.collect()
    _collect_at = max(16, 2 * len(_closed))  # somebody keeps them: looking at every close would find them again


class InTime:
    """`Machine.in_time`."""

    __slots__ = ("_end", "_machine")

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._end: Optional[Callable[[], None]] = None

    def __enter__(self) -> None:
        sched, patience = self._machine.kernel.sched, self._machine.patience
        if patience is not None and sched.thread is None:  # in a run it is the run's time
            from machine.kernel.task.watchdog import guard_call

            sched.lockup = None
            self._end = guard_call(sched, patience)

    def __exit__(self, _kind: object, failure: Optional[BaseException], _trace: object) -> None:
        __tracebackhide__ = True
        if self._end is None:
            return
        self._end()
        lockup, patience = self._machine.take_lockup(), self._machine.patience
        if lockup is not None:
            raise NotBack(f"{lockup.text}\nits {patience:g} seconds were over") from lockup
        if isinstance(failure, Overrun):
            text = f"the kernel was still at work{failure.place} when {patience:g} seconds were over"
            raise NotBack(text) from failure


class _Entered:
    """While in it, this machine's kernel is the thread's current one."""

    __slots__ = ("_before", "_kernel")

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def __enter__(self) -> None:
        self._before = set_current_kernel(self._kernel)

    def __exit__(self, *_: object) -> None:
        set_current_kernel(self._before)
