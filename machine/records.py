"""Plain records: what `dataclasses.dataclass` makes, at a tenth of the time that it takes to make them.

Every start of nopage makes twenty such classes; with `dataclasses` that is 6 ms of 100.  Type checkers see the real
one.
What is here: `__init__` with defaults and factories, `__repr__`, `__eq__`, slots, and bases whose fields are all
keyword-only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["field", "record"]

if TYPE_CHECKING:
    from dataclasses import dataclass as record
    from dataclasses import field
else:

    class field:
        """A default that is made for each record, ``field(default_factory=list)``, or that says nothing of whether two
        are equal, ``field(default=0, compare=False)`` (in bases with keywords only)."""

        __slots__ = ("compare", "default", "default_factory")

        def __init__(self, *, default=None, default_factory=None, compare=True):
            self.default, self.default_factory, self.compare = default, default_factory, compare

    def record(cls=None, *, slots=False, kw_only=False):
        """Class decorator, as ``@dataclass`` and ``@dataclass(slots=True, kw_only=True)``."""
        if cls is None:
            return lambda cls: record(cls, slots=slots, kw_only=kw_only)
        body = dict(cls.__dict__)
        names = tuple(body.get("__annotations__", ()))
        defaults = {name: body.pop(name) for name in names if name in body}
        inherited = getattr(cls.__base__, "_keywords", {})
        place = {name for name, value in defaults.items() if isinstance(value, field) and not value.compare}
        defaults |= {name: defaults[name].default for name in place}
        body["_apart"] = getattr(cls.__base__, "_apart", frozenset()) | place
        keywords = inherited | (defaults if kw_only else {})
        body["__init__"] = _until_first(() if kw_only else names, defaults, keywords)
        body["__repr__"] = _repr
        body["__eq__"] = _eq
        body["__hash__"] = None
        body["_fields"] = tuple(inherited) + names
        body["_keywords"] = keywords
        for name in ("__dict__", "__weakref__"):
            body.pop(name, None)
        if slots:
            body["__slots__"] = names
        body["__init__"].made = made = type(cls)(cls.__name__, cls.__bases__, body)
        return made

    def _until_first(names, defaults, keywords):
        """An `__init__` that makes the real one when the first record is made: most kinds never are."""

        def __init__(self, *args, **named):
            real = _make_init(names, defaults, keywords)
            __init__.made.__init__ = real
            real(self, *args, **named)

        return __init__

    def _make_init(names, defaults, keywords):
        parameters, lines, made = ["self"], [], {}
        for name in names:
            default = defaults.get(name)
            if name not in defaults:
                parameters.append(name)
                lines.append(f" self.{name} = {name}")
            elif isinstance(default, field):
                made[f"_make_{name}"] = default.default_factory
                parameters.append(f"{name}=_absent")
                lines.append(f" self.{name} = _make_{name}() if {name} is _absent else {name}")
            else:
                made[f"_default_{name}"] = default
                parameters.append(f"{name}=_default_{name}")
                lines.append(f" self.{name} = {name}")
        for at, (name, default) in enumerate(keywords.items()):  # plain values: no factories
            parameters += (["*"] if not at else []) + [f"{name}={default!r}"]
            lines.append(f" self.{name} = {name}")
        namespace = {"_absent": object(), **made}
        exec(f"def __init__({', '.join(parameters)}):\n" + "\n".join(lines or [" pass"]), namespace)
        return namespace["__init__"]

    def _repr(self):
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self._fields)})"

    def _eq(self, other):
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self._fields if name not in self._apart)
