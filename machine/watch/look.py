"""What the page shows, copied from the machine by the thread that runs it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Optional

from machine.events import RegisterAccess
from machine.hardware.iomem import Resource
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.screen import Screen

if TYPE_CHECKING:
    from machine.hardware.bus import Attachment
    from machine.hardware.registers import Reg, RegisterBlock
    from machine.kernel.kernel import Kernel

CELLS = 64
"""Parts of a range of RAM whose use is shown."""
MAP_SECONDS = 0.4
"""The map is counted no more often than this."""
_STATES = {0: "runs", 1: "sleeps", 2: "sleeps (D)", 4: "stopped", 8: "traced"}
MOST_TASKS = 200


class Looker:
    """`look` gives the parts of the page that may have changed, as plain lists and dictionaries."""

    def __init__(self, kernel: Kernel) -> None:
        self.state = ""
        """What the program does, in words."""
        self._kernel = kernel
        self._screen = Screen(kernel)
        self._map_made = 0.0
        self._accesses: dict[tuple[str, str], list[Any]] = {}
        """(block, register) -> [how often, the last access]."""
        kernel.bus.wake()
        kernel.events.listen("register", self._on_access)

    def close(self) -> None:
        """Listen no more."""
        self._kernel.events.unlisten("register", self._on_access)

    def _on_access(self, access: RegisterAccess) -> None:
        entry = self._accesses.setdefault((access.device, access.register), [0, access])
        entry[0] += 1
        entry[1] = access

    def look(self, whole: bool = False) -> dict[str, Any]:
        """Name of a part -> its content.  `whole`: the map too, however recent it is."""
        found: dict[str, Any] = {"state": self._state(), "registers": self._registers()}
        picture = self._screen.changed()
        if picture is not None:
            found["screen"] = picture
        if whole or time.monotonic() - self._map_made > MAP_SECONDS:
            found["map"] = self._map()
            self._map_made = time.monotonic()
        return found

    # -- the parts -------------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        kernel = self._kernel
        tasks = [task for task in list(kernel.tasks.values()) if task.pid != 1][:MOST_TASKS]
        return {
            "text": self.state,
            "seconds": round(kernel.clock.monotonic_ns() / 1e9, 1),
            "faults": kernel.total_faults(),
            "syscalls": kernel.syscall_count,
            "tasks": [[task.pid, task.comm, _STATES.get(task.state, "ended")] for task in tasks],
        }

    def _registers(self) -> list[dict[str, Any]]:
        return [self._block(where) for where in self._kernel.bus.blocks]

    def _block(self, where: Attachment) -> dict[str, Any]:
        block = where.block
        rows = [self._row(block, reg) for reg in block.registers.values()]
        for name, array in block.arrays.items():
            used = [key[1] for key in self._accesses if key[0] == block.name and key[1].startswith(f"{name}[")]
            rows += [self._row(block, array.reg(int(each[len(name) + 1 : -1]))) for each in used]
        return {"name": block.name, "start": f"{where.start:08x}", "rows": rows}

    def _row(self, block: RegisterBlock, reg: Reg) -> list[Any]:
        """Offset, name, access, value, how often it was used, and the last time in words.

        Of a register that is computed when it is read there is only what was read last: reading it may change it.
        """
        count, access = self._accesses.get((block.name, reg.name), (0, None))
        value: Optional[int] = block.values.get(reg.name, reg.reset)
        if hasattr(block, "read_" + reg.hook):
            value = None if access is None or access.write or access.width != reg.width else access.value
        shown = "-" if value is None else f"{value:0{2 * reg.width}x}"
        last = ""
        if access is not None:
            where = f" at {access.rip:#x}" if access.rip else ""
            last = f"pid {access.pid} {'wrote' if access.write else 'read'} {access.value:#x}{where}"
        return [reg.offset, reg.name, reg.access, shown, count, last]

    # -- the map of physical memory ----------------------------------------------------------------

    def _map(self) -> list[dict[str, Any]]:
        rows = []
        for level, each in self._kernel.iomem.iter():
            use = self._use(each) if each.name == "System RAM" else []
            rows.append({
                "level": level, "start": f"{each.start:08x}", "end": f"{each.end:08x}", "name": each.name,
                "size": each.size, "use": use, "note": self._note(each, use),
            })  # fmt: skip
        return rows

    def _use(self, ram: Resource) -> list[int]:
        """Per cent of each part's frames that somebody has."""
        import numpy

        first, end = ram.start >> PAGE_SHIFT, ram.end + 1 >> PAGE_SHIFT
        counts = numpy.asarray(self._kernel.mem.count[first:end])
        parts = numpy.array_split(counts != 0, min(CELLS, end - first))
        return [int(numpy.ceil(100 * part.mean())) for part in parts]

    def _note(self, each: Resource, use: list[int]) -> str:
        kernel = self._kernel
        if use:
            import numpy

            first, end = each.start >> PAGE_SHIFT, each.end + 1 >> PAGE_SHIFT
            used = int(numpy.count_nonzero(numpy.asarray(kernel.mem.count[first:end]))) * PAGE_SIZE
            return f"{used / (1 << 20):.1f} of {each.size / (1 << 20):.1f} MiB used"
        inside = [where for where in kernel.bus.blocks if where.start == each.start]
        if inside:
            name = inside[0].block.name
            count = sum(entry[0] for key, entry in self._accesses.items() if key[0] == name)
            return f"registers of {name}, {count} accesses"
        memory = [data for data, start in kernel.bus.memories if start == each.start]
        return f"{len(memory[0]) >> 20} MiB of device memory" if memory else ""
