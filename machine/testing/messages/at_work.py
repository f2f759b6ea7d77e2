"""Texts: models at work (RegisterError and others)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from machine.testing.messages.naming import did_you_mean, of_function, place, place_of, said


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
        f"{type(block).__name__}: after and every want microseconds, not negative (every: more than 0), and a "
        f"function: not ({us!r}, {function!r})"
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
    lines = [f"{where}{who} raised {type(failure).__name__} in {what}: {said(failure)}{_meant(block, failure)}"]
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
    return f"--attach {spec}: {shown}: {type(failure).__name__}: {said(failure)}"


def no_such_class(spec: str, path: str, name: str, known: Sequence[str]) -> str:
    """--attach /dev/uio0=timer.py:Tmier."""
    return f"--attach {spec}: {path} has no device model '{name}'{did_you_mean(name, known)}"


def no_attachment(spec: str) -> str:
    """--attach /dev/uio0."""
    return f"'{spec}' is not WHERE=FILE.py:CLASS, like /dev/uio0=timer.py:Timer or /dev/uio0=timer.py:Timer(start=5)"
