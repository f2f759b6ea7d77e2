"""What is known of the devices and programs of a machine when register accesses are looked at, in words."""

from __future__ import annotations

import linecache
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Optional

from machine.attach import words_for
from machine.events import RegisterAccess
from machine.hardware.bus import Lockup
from machine.hardware.field import Field
from machine.hardware.reg import Reg
from machine.hardware.registers import RegisterBlock, RegisterError
from machine.observe.sites import Site, Sites
from machine.observe.symbols import NOWHERE, Location, Symbols
from machine.testing import messages

if TYPE_CHECKING:
    from machine.hardware.bus import ModelFailure
    from machine.programs import Programs


class Context:
    """Of one machine.  It keeps nothing: what it is asked it looks up then."""

    def __init__(self, machine: Programs) -> None:
        self.machine = machine
        self._symbols: Optional[Symbols] = None

    # -- registers -------------------------------------------------------------------------------

    def blocks(self) -> dict[str, RegisterBlock]:
        """The recorded devices, by name."""
        return {each.block.name: each.block for each in self.machine.kernel.bus.blocks if each.recorded}

    def declared(self, access: RegisterAccess) -> Optional[Reg]:
        """The register's declaration; None for what is beside registers, or a device that is gone."""
        block = self.blocks().get(access.device)
        return None if block is None else _find(type(block), access.register)

    def fields(self, access: RegisterAccess) -> Mapping[str, Field]:
        """Its fields, by name."""
        reg = self.declared(access)
        return {} if reg is None else reg.fields

    def register_value(self, access: RegisterAccess) -> int:
        """The bytes of the access in their place in the register: what fields are taken from."""
        reg = self.declared(access)
        return access.value if reg is None else access.value << 8 * (access.offset - reg.offset)

    def check_register(self, name: str, where: tuple[str, int]) -> None:
        """RegisterError for a name that no device has."""
        __tracebackhide__ = True
        found = self.blocks()
        device, dot, register = name.partition(".")
        if dot and device not in found:
            raise RegisterError(messages.unknown_device(where, name, list(found)))
        candidates = {device: found[device]} if dot else found
        known = {part: None for block in candidates.values() for part in _names(type(block))}
        plain = (register if dot else name).partition("[")[0].partition("+")[0]
        if plain not in known and name != "":
            classes = [type(block).__name__ for block in candidates.values()]
            raise RegisterError(messages.unknown_register(where, name, classes, list(known)))

    def check_fields(self, name: str, fields: Mapping[str, Any], where: tuple[str, int]) -> None:
        """RegisterError for a field that the register does not have, or a name that the field has for no value."""
        __tracebackhide__ = True
        device, dot, register = name.partition(".")
        for each in self.blocks().values():
            reg = _find(type(each), register if dot else name)
            if reg is None or (dot and each.name != device):
                continue
            for field, value in fields.items():
                if field not in reg.fields:
                    raise RegisterError(messages.unknown_field(where, type(each), reg.name, field, list(reg.fields)))
                if isinstance(value, str) and value not in reg.fields[field].values:
                    raise RegisterError(
                        messages.unknown_value(
                            where, type(each), reg.name, field, value, list(reg.fields[field].values)
                        )
                    )

    # -- programs --------------------------------------------------------------------------------

    def site(self, index: int) -> Optional[Site]:
        """Where access `index` of the machine was made; None for the kernel's."""
        kept = self.machine.kernel.bus.on_record
        return kept.by_index.get(index) if isinstance(kept, Sites) else None

    def location(self, site: Site) -> Location:
        """Function, source file and line, as far as the program says."""
        if self._symbols is None:
            self._symbols = Symbols(self.machine.read_file)
        try:
            return self._symbols.locate_source(site.rip, site.mapping)
        except Exception:  # the machine is closed
            return NOWHERE

    def led_to(self, failed: ModelFailure) -> list[str]:
        """The access in which a model has raised, or in which it has put off what raised; [] where there is none."""
        record = self.machine.kernel.bus.record
        name = getattr(failed.block, "name", "")
        if not 0 <= failed.led_by < len(record) or record[failed.led_by].device != name:
            return []
        access = record[failed.led_by]
        made = f"{register_of(access)} = {messages.a_number(access.value)}{fields_of(access, self)}"
        head = messages.led_to("write" if access.write else "read", made)
        repeats = bool(self.machine.options["deterministic"]) and not isinstance(failed.failure, Lockup)
        return ["", head, *self.made_by(access, failed.led_by, repeats)]

    def made_by(self, access: RegisterAccess, index: int, replay: bool = True) -> list[str]:
        """Where access `index` of the machine was made: source line, function, instruction, and how to get there."""
        site = self.site(index)
        if site is None:
            return [f"  made by      the kernel, for process {access.pid}"]
        from machine.observe.disasm import disassemble

        where, lines, source = self.location(site), [], ""
        if where.file:
            source = linecache.getline(where.file, where.line).strip()
            file = os.path.relpath(where.file)
            lines.append(f"  source       {where.file if file.startswith('..') else file}:{where.line}")
        if source:
            lines.append(f"               {source}")
        function = where._replace(file="", line=0)
        lines.append(f"  made by      {site.comm} (process {access.pid}){f' in {function}' if where.function else ''}")
        lines.append(f"  instruction  {site.rip:#x}  {disassemble(site.code, site.bits, site.rip)}")
        return [*lines, *(self.replay(access, index) if replay else ())]

    def replay(self, access: RegisterAccess, index: int) -> list[str]:
        """The command that makes such a machine, runs the same programs and stops at this access; what it lacks; or why
        there is none."""
        machine = self.machine
        options = machine.options
        record = machine.kernel.bus.record[: index + 1]
        nr = sum(a.device == access.device and a.register == access.register for a in record)
        for each in options.get("attached", []):
            where, model = each[:2]
            if not words_for(*each):
                return messages.no_replay(where, model, access.device, access.register, nr)
        words = [*_nopage(), "run"] + (["--deterministic"] if options["deterministic"] else [])
        if options["board"] is not None:
            words += ["--board", options["board"]]
        for device in options["devices"]:
            words += ["--device", device]
        for host, guest, writable in options["binds"]:
            words += ["--bind", f"{host}:{guest}{':rw' if writable else ''}"]
        for each in options.get("attached", []):
            words += ["--attach", words_for(*each)]
        words += ["--break-on", f"register:{access.device}.{access.register},nr={nr}"]
        *earlier, last = machine.commands or [[]]
        for each in earlier:
            words += ["--exec", shlex.join(each)]
        return messages.replay(shlex.join([*words, "--", *last]), machine.lacking())


def register_of(access: RegisterAccess) -> str:
    """``timer.ctrl``."""
    return f"{access.device}.{access.register or f'{access.offset:#x} (no register)'}"


def fields_of(access: RegisterAccess, context: Optional[Context]) -> str:
    """`` (enable=1, mode=slow)``, "" for a register without fields."""
    if context is None:
        return ""
    value = context.register_value(access)
    fields = context.fields(access)
    return " (" + ", ".join(f"{n}={f.name_of(f.of(value))}" for n, f in fields.items()) + ")" if fields else ""


def _nopage() -> list[str]:
    """How a shell calls this environment's nopage: the test may run in one that is not on PATH."""
    beside = os.path.join(os.path.dirname(sys.executable), "nopage")
    found = shutil.which("nopage")
    if not os.path.exists(beside):
        return ["nopage"] if found else [messages.place_of(sys.executable), "-m", "machine"]
    if found is not None and os.path.realpath(found) == os.path.realpath(beside):
        return ["nopage"]
    return [messages.place_of(beside)]


def _find(cls: type[RegisterBlock], name: str) -> Optional[Reg]:
    found = cls.registers.get(name)
    if found is None:
        array = cls.arrays.get(name.partition("[")[0])
        return None if array is None else array.one
    return found


def _names(cls: type[RegisterBlock]) -> list[str]:
    return [*cls.registers, *cls.arrays, *cls.memories]
