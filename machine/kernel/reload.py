"""``nopage run --reload``: a driver whose file was edited is taken up at the next open of its device.

It is an unload and a load with the same parameters, when nobody has the device open or mapped; what the old one left is
listed as at every unload.  Else the old one stays, with a line in the log for each edit.  A new file that can't be
executed, or whose init fails, changes nothing for the guest: the old source is loaded again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from machine.kernel.insmod import finish_unload, prepare, start
from machine.kernel.modfile import ModuleError, execute_source, file_stamp, remember_lines, set_parameters
from machine.kernel.module import LIVE, module

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

BROKEN = "it is broken"


class Reloader:
    """Hook of one machine (`Kernel.before_open`)."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self._answered: dict[str, tuple[tuple[int, int], str]] = {}
        """Name -> the last edit that was not taken up, and why; it is in the log."""
        self._busy = False

    def __call__(self, owner: Optional[module]) -> None:
        """The device of `owner` is about to be opened."""
        if self._busy or owner is None or owner.state != LIVE or owner not in self.kernel.modules.values():
            return
        stamp = file_stamp(owner.path)
        if stamp in (owner.stamp, (0, 0)):
            return
        why = ""
        if owner.refcount:
            why = "it is in use"
        elif owner.init is not None and owner.exit is None:
            why = "it has no exit function"
        before = self._answered.get(owner.name)
        if before in ((stamp, why), (stamp, BROKEN)):
            return
        if why:
            self._answered[owner.name] = stamp, why
            self.kernel.warn(f"{owner.name}: {owner.path.name} was edited, but {why}: the old one stays")
            return
        self._busy = True  # its init may open devices
        try:
            self._exchange(owner, stamp)
        finally:
            self._busy = False

    def _exchange(self, old: module, stamp: tuple[int, int]) -> None:
        kernel = self.kernel
        new = module(old.name, old.path)
        try:
            prepare(kernel, new, old.settings, old.separator)
        except ModuleError as error:
            self._keep(old, stamp, error)
            return
        finish_unload(kernel, old)
        try:
            start(kernel, new)
        except ModuleError as error:
            self._keep(old, stamp, error)
            again = module(old.name, old.path)
            again.source, again.stamp = old.source, old.stamp
            execute_source(again)
            set_parameters(again, old.settings, old.separator)
            start(kernel, again)
            return
        kernel.printk(f"{new.name}: {new.path.name} was edited: loaded again", 6)

    def _keep(self, old: module, stamp: tuple[int, int], error: ModuleError) -> None:
        remember_lines(old)
        self._answered[old.name] = stamp, BROKEN
        self.kernel.printk(f"{old.name}: {old.path.name} was edited, but can't be loaded: the old one stays", 3)
        for line in str(error).rstrip().splitlines():
            self.kernel.printk(line, 3)
