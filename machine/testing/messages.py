"""Every text with which device models, assertions on register accesses and the pytest plugin say that something is
wrong: what is wrong, where (class and attribute, file and line), and what to do.

This module knows nothing, so that every room may import it, and does when there is something to say.  Each function
gives one text; `tests/testing/test_messages.py` provokes each and compares the whole of it.  (Their `cls`, `part`
and `block` are RegisterBlock and its parts; knowing these types would be an import.)
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

# -- how things are called -------------------------------------------------------------------------------------


def place(where: tuple[str, int]) -> str:
    """``tests/test_timer.py:12``: relative to the current directory where that is above."""
    path, line = where
    relative = os.path.relpath(path)
    return f"{path if relative.startswith('..') else relative}:{line}"


def place_of(path: str) -> str:
    """A file, relative to the current directory where that is above."""
    return place((path, 0)).rpartition(":")[0]


def of_function(function: Any) -> tuple[str, int]:
    """Where a function is written; of something else its repr."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return (repr(function), 0) if code is None else (code.co_filename, code.co_firstlineno)


def a_number(value: int) -> str:
    """``7``, ``0x3e8 (1000)``."""
    return f"{value:#x} ({value})" if value > 9 else str(value)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean ctrl?``, else what there is."""
    import difflib

    names = list(known)
    close = difflib.get_close_matches(word, names, 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are: {', '.join(names)}" if names else "; there are none"


def _at(cls: Any, part: Any) -> str:
    return f"{place(part.where)}: {cls.__name__}.{part.name}"


def _extent(part: Any) -> str:
    return f"{part.offset:#x}, {part.end - part.offset} bytes"


# -- declarations (RegisterError) --------------------------------------------------------------------------------


def name_is_taken(cls: Any, part: Any) -> str:
    """A register has the name of one of RegisterBlock's own attributes."""
    return f"{_at(cls, part)}: every RegisterBlock has a '{part.name}' of its own; give the register another name"


def no_such_argument(cls: Any, name: str, known: Sequence[str]) -> str:
    """Reg(0, acces="ro")."""
    return f"{cls.__name__} takes no argument {name!r}{did_you_mean(name, known)}"


def negative_offset(cls: Any, part: Any) -> str:
    """Before the block's start."""
    return f"{_at(cls, part)}: its offset is {part.offset}; offsets count from the block's start, in bytes"


def wrong_width(cls: Any, part: Any, width: int) -> str:
    """Reg(width=3)."""
    return f"{_at(cls, part)}: a register is 1, 2, 4 or 8 bytes wide, not {width}"


def wrong_access(cls: Any, part: Any, kind: object, known: Sequence[str]) -> str:
    """Reg(access="rx"), of the register or of a field."""
    return f"{_at(cls, part)}: access is one of {', '.join(known)}, not {kind!r}"


def wrong_reset(cls: Any, part: Any, reg: Any) -> str:
    """A reset value that is negative or too large."""
    return f"{_at(cls, part)}: the reset value {reg.reset:#x} does not fit {8 * reg.width} bits"


def field_beyond(cls: Any, part: Any, reg: Any, name: str, field: Any) -> str:
    """A field that the register is too narrow for."""
    bits = f"{field.width} bit{'' if field.width == 1 else 's'} from bit {field.lsb} on"
    return f"{_at(cls, part)}: field '{name}', {bits}, does not fit a register of {8 * reg.width} bits"


def field_value_beyond(cls: Any, part: Any, name: str, field: Any, value: str, number: int) -> str:
    """A named value that the field is too narrow for."""
    return f"{_at(cls, part)}: value '{value}' = {number} does not fit field '{name}', which is {field.width} bits wide"


def no_field(cls: Any, part: Any, name: str, value: object) -> str:
    """Reg(0, fields={"enable": 0})."""
    return f"{_at(cls, part)}: field '{name}' is declared by Field(BIT) or Field('HIGH:LOW'), not by {value!r}"


def wrong_bits(text: str) -> str:
    """Field("2-3"), Field("2:3")."""
    return f"Field({text!r}): bits are given as a number, or as 'HIGH:LOW' with the higher first, like '7:4'"


def wrong_values(values: object) -> str:
    """Field(0, values=["off", "on"])."""
    return f"Field: values is a mapping of names to numbers, like {{'off': 0, 'on': 1}}, or an enum, not {values!r}"


def fields_overlap(cls: Any, part: Any, one: str, other: str, bit: int) -> str:
    """Two fields want the same bit."""
    return f"{_at(cls, part)}: fields '{one}' and '{other}' both have bit {bit}"


def overlap(cls: Any, one: Any, other: Any) -> str:
    """Two registers want the same byte."""
    return (
        f"{_at(cls, other)} ({_extent(other)}) overlaps {cls.__name__}.{one.name} ({_extent(one)}), "
        f"declared at {place(one.where)}"
    )


def wrong_array(cls: Any, array: Any) -> str:
    """No registers, or too close to each other."""
    return (
        f"{_at(cls, array)}: an array of {array.count} registers of {array.one.width} bytes, {array.stride} bytes apart"
    )


def empty_memory(cls: Any, memory: Any) -> str:
    """Memory(size=0), or an empty `reset`."""
    return f"{_at(cls, memory)}: a memory of {memory.size} bytes that holds {memory.reset!r} after a reset"


def memory_access(cls: Any, memory: Any) -> str:
    """Memory(access="w1c")."""
    return f"{_at(cls, memory)}: a memory is rw, ro or wo, not {memory.access!r}"


def wrong_fifo(cls: Any, fifo: Any) -> str:
    """Fifo with something that can't be."""
    return (
        f"{_at(cls, fifo)}: a Fifo has a depth of 1 or more, access rw, ro or wo, full='drop' or 'overwrite', and "
        f"empty='last' or a number that fits; not depth={fifo.depth}, access={fifo.access!r}, full={fifo.full!r}, "
        f"empty={fifo.empty!r}"
    )


def wrong_unaligned(cls: Any) -> str:
    """unaligned = "never"."""
    return f"{cls.__name__}.unaligned is 'split' or 'refuse', not {cls.unaligned!r}"


def wrong_size(cls: Any, end: int) -> str:
    """size = 100."""
    return (
        f"{cls.__name__}.size is {cls.size:#x}; it must be whole pages of 0x1000, and the registers need {end:#x} bytes"
    )


def no_such_method(cls: Any, part: Any, kind: str, method: str) -> str:
    """Reg(on_write="strat")."""
    methods = [name for name, value in vars(cls).items() if callable(value) and not name.startswith("__")]
    return f"{_at(cls, part)}: on_{kind}={method!r}: {cls.__name__} has no such method{did_you_mean(method, methods)}"


def hook_without_register(cls: Any, method: Any, register: str, known: Sequence[str]) -> str:
    """A write_crtl beside a register ctrl would never run."""
    where = f"{place(of_function(method))}: {cls.__name__}.{method.__name__}"
    return f"{where}: there is no register '{register}'{did_you_mean(register, known)}"


def hook_of_another_class(cls: Any, method: Any, kind: str) -> str:
    """@Other.ctrl.on_write in a class that does not have Other's registers."""
    where = f"{place(of_function(method))}: {cls.__name__}.{method.__name__}"
    return f"{where}: its on_{kind} is of a register that {cls.__name__} does not have"


def no_library(library: str, extra: str, what: str = "reading this") -> str:
    """from_rdl without systemrdl-compiler."""
    return f"{what} needs {library}, which is not installed: pip install 'nopage[{extra}]'"


def bad_map(path: str, lines: Sequence[str]) -> str:
    """A SystemRDL or SVD file that can't be read."""
    return "\n".join([f"{path}: no registers can be read from it:", *(f"  {line}" for line in lines)])


def no_peripheral(path: str, name: str, known: Sequence[str]) -> str:
    """from_svd(path, "TMIER")."""
    return f"{path}: there is no peripheral '{name}'{did_you_mean(name, known)}"


# -- models at work (RegisterError and others) -------------------------------------------------------------------


def model_has_no_register(cls: Any, name: str) -> str:
    """timer["crtl"]."""
    return f"{cls.__name__} has no register '{name}'{did_you_mean(name, cls.registers)}"


def no_such_field(cls: Any, register: str, field: str, known: Sequence[str]) -> str:
    """timer["ctrl.enalbe"]."""
    return f"{cls.__name__}.{register} has no field '{field}'{did_you_mean(field, known)}"


def no_such_value(cls: Any, register: str, field: str, bits: Any, value: str) -> str:
    """timer["ctrl.mode"] = "slwo"."""
    return f"{cls.__name__}.{register}: field '{field}' has no value '{value}'{did_you_mean(value, bits.values)}"


def attribute_mistyped(cls: Any, name: str, meant: str) -> str:
    """self.statsu = 1 beside a register status, self.enalbe = 1 beside a field ctrl.enable."""
    shown = f"self[{meant!r}]" if "." in meant else meant
    kind = "field" if "." in meant else "register"
    return (
        f"{cls.__name__} has no register {name!r}; did you mean {shown}, its {kind}? (An attribute of the model's own "
        f"that is so close to it has an annotation in the class, or is set in __init__ or reset)"
    )


def _meant(block: Any, failure: BaseException) -> str:
    """``; did you mean 'status'?`` for an attribute that is not there."""
    name = getattr(failure, "name", None)
    owner: Any = getattr(failure, "obj", None)
    if not isinstance(failure, AttributeError) or not name or block is None or not hasattr(block, "registers"):
        return ""
    if owner is block:
        import difflib

        names = [*block.registers, *block.arrays, *block.memories, *vars(block)]
        close = difflib.get_close_matches(name, names, 1)
        return f"; did you mean {close[0]!r}?" if close else ""
    having = [reg.name for reg in block.registers.values() if name in reg.fields] if isinstance(owner, int) else []
    return f"; a field is self['{having[0]}.{name}']" if having else ""


def fifo_set(fifo: Any, block: Any) -> str:
    """uart.data = 7."""
    who = f"{type(block).__name__}.{fifo.name}"
    return (
        f"{who} is a Fifo and can't be set; put entries in with {fifo.name}.push(...), {fifo.name}.clear() empties it"
    )


def memory_set(memory: Any, block: Any, count: int) -> str:
    """card.buffer = b"too short"."""
    who = f"{type(block).__name__}.{memory.name}"
    return f"{who} has {memory.size} bytes and is given {count}; for a part of it: {memory.name}[0:{count}] = ..."


def no_line(block: Any) -> str:
    """raise_irq without a line."""
    return (
        f"{type(block).__name__} ('{block.name}') is wired to no interrupt line: give it one in its class (irq = 9) or "
        "where it is attached ('/dev/mem@0xfe000000,irq=9')"
    )


def no_clock(block: Any) -> str:
    """after() or DMA before the device is in a machine."""
    who = f"{type(block).__name__} ('{block.name}')"
    return f"{who} is in no machine yet, and so has neither clock nor memory: attach it first"


def wrong_delay(block: Any, us: float, function: object) -> str:
    """after(-1, f), after(10, f())."""
    return (
        f"{type(block).__name__}: after and every want microseconds, not negative, and a function: "
        f"not ({us!r}, {function!r})"
    )


def read_hook_gave(block: Any, reg: Any, value: object) -> str:
    """A read hook that returns a string, or a number that does not fit."""
    number = f"{value:#x}" if isinstance(value, int) else repr(value)
    return (
        f"{type(block).__name__}.{reg.hook}: a read hook gives a number of {8 * reg.width} bits, or None for the "
        f"register's own value; this one gave {number}"
    )


def write_hook_gave(block: Any, method: str, value: object) -> str:
    """A write hook that returns something."""
    where = place(of_function(getattr(block, method)))
    return (
        f"{where}: {type(block).__name__}.{method}: a write hook returns nothing; this one gave {value!r} "
        f"(to change the register set self.NAME)"
    )


def model_failed(
    block: Any, what: str, failure: BaseException, frames: Sequence[Any], sent: bool, told: Sequence[str]
) -> str:
    """A hook, or what `after` had put off, raised."""
    where = f"{place((frames[-1].filename, frames[-1].lineno or 0))}: " if frames else ""
    name = getattr(block, "name", "")
    who = type(block).__name__ + (f" ('{name}')" if name else "") if block is not None else "a device model"
    lines = [f"{where}{who} raised {type(failure).__name__} in {what}: {failure}{_meant(block, failure)}"]
    lines += [f"  {place((f.filename, f.lineno or 0))} in {f.name}: {f.line}" for f in frames]
    return "\n".join([*lines, _outcome(sent), *told])


def _outcome(sent: bool) -> str:
    return "  the program got SIGBUS" if sent else "  the machine was stopped, and everything in it killed"


def model_interrupted(text: str, sent: bool, told: Sequence[str]) -> str:
    """The same of one that did not come back, at Ctrl-C; `text` is of `looped`."""
    return "\n".join([text, _outcome(sent), *told])


def led_to(kind: str, made: str) -> str:
    """The head of what is told about the access in which a model has raised, or put off what raised."""
    return f"the {kind} that led to it: {made}"


def looped(who: str, what: str, frames: Sequence[Any]) -> str:
    """A hook, a driver's method or a condition that does not come back; `frames` are the model's, innermost last."""
    head = (
        f"{place((frames[-1].filename, frames[-1].lineno or 0))}: {who} did not come back from {what}; interrupted in"
    )
    return "\n".join([head, *(f"  {place((f.filename, f.lineno or 0))} in {f.name}: {f.line}" for f in frames)])


def swallowed(looped: str, times: int, status: int) -> str:
    """The same, where the loop catches what is to end it."""
    return (
        f"nopage: {looped}\nnopage: it has caught the exception that was to end it {times} times: 'except:' and "
        "'except BaseException:' do, 'except Exception:' lets it through. Nothing else stops it; this process ends, "
        f"status {status}"
    )


def no_such_file(spec: str, path: str, why: str) -> str:
    """--attach /dev/uio0=tmier.py:Timer."""
    return f"--attach {spec}: {path}: {why}"


def attached_wrongly(spec: str, why: str) -> str:
    """A declaration in the file is wrong, or what the class is given."""
    return f"--attach {spec}: {why}"


def models_raised(spec: str, where: tuple[str, int], failure: BaseException) -> str:
    """The file of --attach raises when it is read, or the class's __init__."""
    shown = place(where) if where[1] else place_of(where[0])
    return f"--attach {spec}: {shown}: {type(failure).__name__}: {failure}"


def no_such_class(spec: str, path: str, name: str, known: Sequence[str]) -> str:
    """--attach /dev/uio0=timer.py:Tmier."""
    return f"--attach {spec}: {path} has no device model '{name}'{did_you_mean(name, known)}"


def no_attachment(spec: str) -> str:
    """--attach /dev/uio0."""
    return f"'{spec}' is not WHERE=FILE.py:CLASS, like /dev/uio0=timer.py:Timer or /dev/uio0=timer.py:Timer(start=5)"


# -- where a model goes (ConfigError, RegisterError) ----------------------------------------------------------------


def no_place(where: object) -> str:
    """attach("/dev/um0", Timer)."""
    return (
        f"a device can't be attached to {where!r}: it is like '/dev/mem@0xfe000000', '/dev/uio0', '/dev/NAME', "
        "'pci:1234:11e8/bar0' or './driver.py,base={address},irq={irq}'"
    )


def no_address(where: str) -> str:
    """attach("/dev/mem", Timer)."""
    return f"{where!r}: at which physical address? As in '/dev/mem@0xfe000000'"


def no_such_setting(where: str, name: str, known: Sequence[str]) -> str:
    """attach("/dev/uio0,iqr=9", Timer)."""
    return f"{where!r}: there is no setting '{name}' here{did_you_mean(name, known)}"


def no_number(where: str, name: str, value: str) -> str:
    """attach("/dev/uio0,irq=nine", Timer)."""
    return f"{where!r}: {name} wants a number that is not negative, not {value!r}"


def no_model(where: str, model: object) -> str:
    """attach("/dev/uio0", dict)."""
    return f"{where}: what is attached is a class derived from RegisterBlock or an object of one, not {model!r}"


def wrong_arguments(where: str, cls: Any, why: str) -> str:
    """attach("/dev/uio0", Timer, strat=5)."""
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    if owner.__name__ == "RegisterBlock":
        return f"{where}: {cls.__name__} has no __init__ of its own that would take arguments: {why}"
    return f"{where}: {place(of_function(owner.__init__))}: {cls.__name__}.__init__: {why}"


def arguments_for_an_object(where: str, block: Any, names: Sequence[str]) -> str:
    """attach("/dev/uio0", Timer(), start=5)."""
    name = type(block).__name__
    return f"{where}: {', '.join(names)}: arguments go to the class ({name}), but this is an object of it already"


def attached_already(where: str, block: Any) -> str:
    """One object in two places."""
    name = type(block).__name__
    return f"{where}: this {name} ('{block.name}') is attached already; attach the class, or make another object"


def place_is_taken(where: str, why: object) -> str:
    """Somebody is at the address, or nobody can be."""
    return f"{where}: {why}"


def device_is_taken(where: str, who: str) -> str:
    """/dev/uio0 twice."""
    return f"{where}: there is such a device already ('{who}')"


def no_room(where: str, block: Any) -> str:
    """No free address."""
    return f"{where}: there is no free range of {block.size:#x} bytes for {type(block).__name__}"


def no_slot() -> str:
    """PCI bus 0 is full."""
    return "there is no free slot on PCI bus 0; name one of another bus: 'pci:1234:11e8@01:04.0/bar0'"


def which_bar(where: str) -> str:
    """attach("pci:1234:11e8", Timer), or a mapping and a BAR."""
    return (
        f"{where}: either one model behind one BAR ('pci:1234:11e8/bar0'), or a mapping of BARs to models and no /bar"
    )


def driver_refused(where: str, driver: str, result: object) -> str:
    """The driver did not take the device."""
    return f"{where}: the driver {driver} did not take the device: {result}"


# -- addresses, PCI cards and slots (ValueError, BusConflict, PciError, IndexError) -----------------------------------


def not_at_a_page(name: str, physical: int) -> str:
    """A block at 0xfe000800."""
    return f"{name} can't be at {physical:#x}: not the start of a page"


def beyond_addresses(name: str, physical: int) -> str:
    """A block above what the processor can address."""
    return f"{name} can't be at {physical:#x}: beyond the processor's addresses"


def in_ram(name: str, physical: int) -> str:
    """A block in RAM."""
    return f"{name} can't be at {physical:#x}: there is RAM"


def on_another(name: str, physical: int, other: str, start: int) -> str:
    """Two blocks at an address, or a block on device memory."""
    return f"{name} can't be at {physical:#x}: {other} is at {start:#x}"


def in_somebodys_range(name: str, physical: int, who: str) -> str:
    """A block in a range of /proc/iomem that is somebody's."""
    return f"{name} can't be at {physical:#x}: {who} is there"


def not_on_the_bus(name: str) -> str:
    """detach() of what is not attached."""
    return f"{name} is not on the bus"


def no_device_memory(physical: int) -> str:
    """detach_memory() where there is none."""
    return f"there is no device memory at {physical:#x}"


def no_such_element(array: Any, index: int) -> str:
    """card.palette[256]."""
    return f"{array.name}[{index}]: there are {array.count}"


def wrong_bar_size(least: int, most: int, size: int) -> str:
    """Bar(100)."""
    return f"a BAR takes a power of two from {least} to {most:#x} bytes, not {size:#x}"


def wrong_bar(size: int, behind: int, bits: int) -> str:
    """Bar(4096, memory=8192), Bar(4096, bits=16)."""
    return f"BAR of {size:#x} bytes: {behind:#x} bytes behind it can't be, with {bits} bits"


def too_many_bars(card: type, count: int, limit: int) -> str:
    """More than six, those of 64 bits counted twice."""
    return f"{card.__name__}: {count} base address registers, there are {limit}"


def too_many_capabilities(card: type) -> str:
    """More than 192 bytes of them."""
    return f"{card.__name__}: the capabilities don't fit the config space"


def no_interrupt_pin(card: type) -> str:
    """raise_irq() of a card without."""
    return f"{card.__name__} has no interrupt: set its irq_pin, or msi"


def card_in_no_machine(card: type) -> str:
    """call_later() of a card that is not plugged in."""
    return f"{card.__name__} is in no machine"


def slot_is_taken(devfn: int, card: type) -> str:
    """Two cards in a slot."""
    return f"slot {devfn >> 3:02x}.{devfn & 7} is taken by {card.__name__}"


def no_such_slot(text: str) -> str:
    """plug(card, "4")."""
    return f"'{text}' is no PCI slot; write it like 00:04.0 (bus, device 00 to 1f, function 0 to 7)"


def no_pci_bus(number: int, known: Sequence[int]) -> str:
    """plug(card, "07:04.0")."""
    return f"there is no PCI bus {number}: there are {', '.join(map(str, known))}"


def no_room_for_bars(number: int) -> str:
    """A card whose BARs don't fit the windows of its bus."""
    return f"no room for its BARs in the windows of bus {number}"


# -- assertions on accesses (RegisterError for what can't be meant, AssertionError for what is not so) ---------------

NOTHING = "(nothing)"


def no_expectation(where: tuple[str, int], what: str, item: object) -> str:
    """assert_writes([1])."""
    one = (
        "('write', 'ctrl', 1) or ('read', 'count', ANY)" if what == "accesses" else "('ctrl', 1), ('ctrl', ANY), 'ctrl'"
    )
    return f"{place(where)}: assert_{what}: an access is expected as {one} or ..., not as {item!r}"


def unknown_device(where: tuple[str, int], name: str, known: Sequence[str]) -> str:
    """assert_writes([("tmier.ctrl", 1)])."""
    device = name.partition(".")[0]
    return f"{place(where)}: '{name}': there is no device '{device}'{did_you_mean(device, known)}"


def unknown_register(where: tuple[str, int], name: str, classes: Sequence[str], known: Sequence[str]) -> str:
    """assert_writes([("crtl", 1)])."""
    who = " and ".join(classes) if classes else "this machine"
    plain = name.partition(".")[2] or name
    verb = "have" if len(classes) > 1 else "has"
    return f"{place(where)}: {who} {verb} no register '{plain}'{did_you_mean(plain, known)}"


def unknown_field(where: tuple[str, int], cls: Any, register: str, field: str, known: Sequence[str]) -> str:
    """assert_writes([("ctrl", {"enalbe": 1})])."""
    return f"{place(where)}: {cls.__name__}.{register} has no field '{field}'{did_you_mean(field, known)}"


def unknown_value(where: tuple[str, int], cls: Any, register: str, field: str, value: str, known: Sequence[str]) -> str:
    """assert_writes([("ctrl", {"mode": "slwo"})])."""
    name = f"{cls.__name__}.{register}: field '{field}'"
    return f"{place(where)}: {name} has no value '{value}'{did_you_mean(value, known)}"


def differ(what: str, expected: int, made: int) -> str:
    """The head of a comparison."""
    return f"register {what} differ: {expected} expected, {made} made"


def rows_left_out(count: int) -> str:
    """In a long comparison."""
    return f"  ...  {count} more"


def not_there(what: str, wanted: str, after: int, places: int, made: int) -> str:
    """The head of a comparison with gaps; `places` are marked."""
    if not wanted:
        return f"register {what} differ: nothing was expected after the first {after}; {made} were made"
    if not places:
        return f"register {what} differ: {wanted} was expected, and did not come; {made} were made"
    where = "where the mark is" if places == 1 else "in one of those marked"
    return f"register {what} differ: {wanted} was expected {where}; {made} were made"


def times(count: int) -> str:
    """Behind an access that was made several times in a row."""
    return f", {count} times" if count > 1 else ""


def access_made(registers: Sequence[str], count: int, lines: Sequence[str], story: Sequence[str]) -> str:
    """assert_no_access_to("status")."""
    verb = "was" if count == 1 else "were"
    head = f"no access to {', '.join(registers)} was expected; there {verb} {count}:"
    return "\n".join([head, *(f"  {line}" for line in lines), *story])


def no_recording(path: str) -> str:
    """A golden recording that nobody has made."""
    return f"{place_of(path)}: there is no recording yet; pytest --nopage-record writes it"


def bad_recording(path: str, line: int, text: str) -> str:
    """A recording that was changed by hand, into something that is none."""
    return (
        f"{place((path, line))}: {text.strip()!r} is no line of a recording; they are like 'write timer.ctrl = 1 "
        f"(enable=1)' and 'read  timer.status = 0  × 37', where * stands for any value, × + and × * for any number, or "
        "'repeat × 37:' before lines that are indented alike"
    )


def empty_repeat(path: str, line: int, text: str) -> str:
    """A `repeat` of a recording that was changed by hand."""
    return f"{place((path, line))}: {text.strip()!r}: what is repeated follows in lines that are indented by two blanks"


def recording_differs(path: str, diff: Sequence[str], story: Sequence[str]) -> str:
    """Other accesses than those of the recording."""
    head = f"register accesses differ from {place_of(path)} (- recorded, + made; --nopage-update accepts them):"
    return "\n".join([head, *(f"  {line}" for line in diff), *story])


def no_waves(path: str) -> str:
    """waves() before anything is attached."""
    return f"{path}: there is no device whose registers it could show: attach it first"


def first_difference(kind: str, made: str, before: bool) -> str:
    """The head of what is told about one access."""
    return f"the {kind} that {'came instead' if before else 'was made'}: {made}"


def replay(command: str, lacks: Sequence[str]) -> list[str]:
    """The command that stops at an access, and what of the test it does not repeat."""
    line = f"  replay       {command}"
    return [line, f"               this replay lacks: {', '.join(lacks)}"] if lacks else [line]


def an_interrupt(irq: int, handlers: str) -> str:
    """What a replay lacks, when the test has raised it."""
    return f"interrupt {irq} ({handlers}) as the test raised it"


def a_signal(signal: str, program: str) -> str:
    """Likewise, of a held program."""
    return f"{signal} that the test sent to {program}"


def no_replay(where: str, model: Any, device: str, register: str, nr: int) -> list[str]:
    """No command can name the model."""
    name = getattr(model, "__qualname__", None)
    what = (
        f"the class {name} is inside of something" if name else f"the model is an object, {type(model).__name__}(...)"
    )
    again = f"for _ in range({nr}): " if nr > 1 else ""
    here = f"lambda a: (a.device, a.register) == ('{device}', '{register}')"
    return [
        f"  replay       no command: {where}: {what}, and --attach names a class of a file's own level",
        "               to stand there in the test: p = start(...) in place of run(...), then",
        f"               {again}machine.run_until('register', {here})",
    ]


def indented(lines: Sequence[str]) -> str:
    """A block of lines under a sentence."""
    return "\n".join(f"  {line}" for line in lines)


# -- programs ------------------------------------------------------------------------------------------------


def no_such_program(program: str, places: Sequence[str], meant: str) -> str:
    hint = f"\nDid you mean {meant}?" if meant else ""
    return (
        f"{program}: no such program. Looked in:\n{indented(places)}{hint}\n"
        "Build it before the test, or compile it in the test: guest_cc('FILE.c')"
    )


def not_executable(program: str, why: str) -> str:
    return f"{program}: can't be started: {why}"


def timed_out(program: str, seconds: float, tasks: Sequence[str], looped: bool) -> str:
    text = f"{program}: still running after {seconds:g} seconds; killed. What the machine was doing:\n{indented(tasks)}"
    if looped:  # more time would not help
        return text
    return f"{text}\nA longer time: run(..., timeout=SECONDS), or nopage_timeout in pytest's configuration"


def nobody_there(
    physical: int, comm: str, where: str, path: str, counts: Sequence[int], near: Sequence[tuple[str, int, int]]
) -> str:
    """A program uses a mapping of addresses that no device answers."""
    reads, writes = counts
    what = [f"{reads} read{'s' if reads != 1 else ''} gave ones"] if reads else []
    what += [f"{writes} write{'s were' if writes != 1 else ' was'} lost"] if writes else []
    devices = ", ".join(f"{name} is at {start:#x}-{end:#x}" for name, start, end in near)
    return f"{physical:#x} was mapped by {comm} ({where}) from {path}, and no device is there: {' and '.join(what)}" + (
        f"; {devices}" if devices else ""
    )


def polled(register: str, value: int, count: int) -> str:
    """Behind what a task does."""
    return f", reading {register}, which stays {a_number(value)} ({count} times)"


def stuck(program: str, tasks: Sequence[str]) -> str:
    return (
        f"{program}: sleeps for ever: no timer, interrupt or input is to come; killed. What the machine was doing:\n"
        f"{indented(tasks)}"
    )


def waits_for_input(program: str, tasks: Sequence[str]) -> str:
    return (
        f"{program}: waits for its standard input, which is open and empty: write to its stdin, or close it. What the "
        f"machine was doing:\n{indented(tasks)}"
    )


def not_come(what: str, seconds: float, tasks: Sequence[str]) -> str:
    return f"{what} has not come in {seconds:g} seconds. What the machine was doing:\n{indented(tasks)}"


def never_comes(what: str, tasks: Sequence[str]) -> str:
    if not tasks:
        return f"{what} will not come: every program has ended"
    why = "every task sleeps and nothing can wake one"
    return f"{what} will not come: {why}. What the machine was doing:\n{indented(tasks)}"


def no_moment(condition: object, kinds: Sequence[str]) -> str:
    return f"run_until: {condition!r} is no function, and no kind of event ({', '.join(kinds)})"


def unexpected_end(command: str, end: str) -> str:
    return f"{command}: {end}"


# -- markers, fixtures, options ----------------------------------------------------------------------------------


def no_device_marker(test: str) -> str:
    return f"the fixture 'device' wants a marker on {test}: @pytest.mark.device(\"/dev/mem@0xfe000000\", Timer)"


def several_devices(places: Sequence[str]) -> str:
    return f"the fixture 'device' is for a test with one device; here are {', '.join(places)}: take devices[...]"


def unknown_place(where: str, places: Sequence[str]) -> str:
    return f"no device of this test is at {where!r}; there are: {', '.join(places) or 'none'}"


def device_without_place(model: object) -> str:
    """@pytest.mark.device(Timer)."""
    name = "Timer" if model is None else getattr(model, "__name__", type(model).__name__)
    return f'device marker: it needs a place: @pytest.mark.device("/dev/uio0", {name}), or a driver\'s name alone'


def at_test(where: tuple[str, int], text: str) -> str:
    """What a test's marker or fixture wants and can't have."""
    return f"{place(where)}: {text}"


def board_wants_a_name() -> str:
    return 'board marker: it takes a name or a file: @pytest.mark.board("my-board.toml")'


def bad_option(name: str, why: str) -> str:
    return f"{name}: {why}"


def bad_coverage(path: str) -> str:
    return f"--nopage-cov={path}: the name ends in .info (for lcov) or .xml (Cobertura); without a name, put it last"


def cannot_write(name: str, path: str, why: str) -> str:
    return f"{name}: {path} can't be written: {why}"


def bad_blocks(path: str) -> str:
    return f"--nopage-drcov={path}: the name ends in .drcov or .log; without a name, put it last"


def not_clean(complaints: Sequence[str]) -> str:
    return "the machine is not clean after the test:\n" + "\n".join(complaints)


def no_source(source: object, places: Sequence[str]) -> str:
    return f"guest_cc: there is no {source}. Looked in:\n{indented(places)}"


def does_not_compile(source: object, target: str, text: str) -> str:
    return f"guest_cc: {source} does not compile for {target}:\n{text}"


def no_compiler(why: str) -> str:
    return f"guest_cc: {why}"


# -- faults on purpose ------------------------------------------------------------------------------------------------


def bad_nth(nth: object) -> str:
    return f"inject: nth counts from 1, not {nth}"


def sigbus_where() -> str:
    return 'inject("sigbus"): say where: at="timer.status", at="/dev/uio0+0x8", at="main", or which: nth=3'


def no_such_place(at: str, known: Sequence[str]) -> str:
    there = f"registers here: {', '.join(known)}" if known else "no device model is attached"
    return (
        f"inject: at={at!r} is no place: an address, '/dev/NAME+OFFSET', 'device.register', 'file.c:LINE' or a "
        f"function; {there}"
    )


def no_such_call(name: str, hint: str) -> str:
    return f"inject: {name!r} is no system call, and not sigbus or oom{hint}"


def errno_or_short(name: str) -> str:
    return f'inject({name!r}): say what it gets: errno="EIO", or short=BYTES'


def no_such_errno(name: str, hint: str) -> str:
    return f"inject: {name!r} is no errno{hint}"


def not_shortened(name: str, known: Sequence[str]) -> str:
    return f"inject({name!r}, short=...): short is for {', '.join(known)}"


def no_such_register(device: str, register: str, hint: str) -> str:
    return f"inject: {device} has no register {register!r}{hint}"


def us_or_reads(device: str, register: str) -> str:
    return f"inject.delayed({device!r}, {register!r}): say how long: us=500, or reads=3"


def bad_probability(probability: float, nth: object) -> str:
    if nth is not None:
        return "inject.lost_irq: nth=, or probability=, not both"
    return f"inject.lost_irq: probability={probability:g} is not between 0 and 1"


def never_happened(text: str) -> str:
    return f"{text} did nothing: what it waits for did not happen"


def no_such_kind(text: str) -> str:
    return f"for_each_fault: {text!r} is not oom, ENOMEM, sigbus, syscall:NAME, syscall:NAME=ERRNO or short:NAME"


def wants_fault_run(test: str) -> str:
    """The marker for_each_fault on a test that does not look."""
    return (
        f"the marker for_each_fault makes runs for the fixture 'fault_run': def {test}(fault_run): "
        "fault_run.assert_survived()"
    )


def no_fault_marker(test: str) -> str:
    """The fixture without the marker."""
    return (
        f"the fixture 'fault_run' wants a marker on {test}: "
        '@pytest.mark.for_each_fault("ENOMEM", ["./timerctl", "start"])'
    )


def marker_wants_two(count: int) -> str:
    """@pytest.mark.for_each_fault("oom")."""
    return (
        "for_each_fault marker: it takes a kind and a command line or a function, and here are "
        f'{count}: @pytest.mark.for_each_fault("ENOMEM", ["./timerctl", "start"])'
    )


def no_compiler_options(names: Sequence[str]) -> str:
    """@pytest.mark.for_each_fault("oom", ["./timerctl"], target="i386")."""
    return (
        f"for_each_fault marker: {', '.join(names)}: such options are guest_cc's, for a command line whose program is "
        "a C file beside the test; the marker's own are limit, only and at_least"
    )


def process_failed(trace: str) -> str:
    """In one of the processes of workers=4."""
    return f"a process of for_each_fault failed:\n{trace}"


def process_died(status: int) -> str:
    """A process of workers=4 was killed: by whom memory is short, for instance."""
    return f"a process of for_each_fault ended with status {status} before its work was done"


def changed_in_a_process(names: Sequence[str]) -> str:
    """A scenario that fills a list of the test, with workers=4."""
    return (
        f"for_each_fault: the runs change {', '.join(repr(name) for name in names)}, each in a process of its own, "
        "where the test does not see it: compare inside the function, look at the outcomes, or leave workers= away"
    )


def nothing_failed(head: str, at_least: int, calls: Sequence[str]) -> str:
    made = f"; its system calls are {', '.join(calls)}" if calls else ""
    return f"{head}; at least {at_least} were to be tried{made}"


def not_survived(head: str, table: str, again: str) -> str:
    return f"{head}. Not survived:\n{table}\nTo look at the first: {again}"


def wants_a_class(where: str, model: object) -> str:
    return (
        f"for_each_fault: the model at {where!r} is an object, {type(model).__name__}(...), and each run wants a fresh "
        f"one: give its class to the marker"
    )


# -- nopage sweep -------------------------------------------------------------------------------------------------


def wants_dask() -> str:
    """--scheduler without the extra."""
    return "--scheduler: Dask is not installed here: pip install 'nopage[sweep]'"


def no_scheduler(address: str, why: str) -> str:
    """Nobody answers there."""
    return f"--scheduler {address}: no scheduler of Dask answers there: {why}"


def scheduler_gone(address: str) -> str:
    """The scheduler was stopped, or the network is."""
    return f"--scheduler {address}: the connection to the scheduler is lost"


def workers_failed(address: str, why: str) -> str:
    """A worker without nopage, or one that dies of the runs."""
    return (
        f"--scheduler {address}: its workers can't make the runs: {why}. nopage has to be installed where the "
        "workers are, and where the scheduler is"
    )


def other_nopage(where: str, there: str, here: str) -> str:
    """A worker with another version."""
    return f"{where}: nopage is {there} there and {here} here: install the same"


def not_here(where: str, why: str) -> str:
    """What runs on this computer doesn't on a worker's."""
    return f"{where}: {why}"


def another_way(n: int) -> str:
    """A worker's run that does not meet what this computer's did."""
    return (
        f"run {n} did not come to what was to fail in it: where the worker is, the program's libraries or the files "
        "that it reads are others. --file takes files along"
    )


def sweep_stopped(why: str, done: int, total: int, journal: object) -> str:
    """No more runs can be made."""
    return f"{why}\n{done} of {total} runs are done" + ("; the same command goes on from there" if journal else "")


def other_sweep(path: str) -> str:
    """The journal is of another program, or of another version of it."""
    differs = "it is of another sweep (program, options, files or nopage differ)"
    return f"--journal {path}: {differs}; remove it, or name another"


def sweep_interrupted(done: int, total: int, journal: object) -> str:
    """Ctrl-C."""
    return f"interrupted: {done} of {total} runs are done" + (
        "; the same command goes on from there" if journal else ""
    )
