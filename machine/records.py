"""Plain records: what `dataclasses.dataclass` and `typing.NamedTuple` make, at a tenth of the time that they take.

Every start of nopage makes twenty of the first and thirty of the second; with the library's that is 6 ms and 5 ms of
100.  Type checkers see the real ones.
What is here of a dataclass: `__init__` with defaults and factories, `__repr__`, `__eq__`, slots, and bases whose fields
are all keyword-only.  A NamedTuple has everything but `_field_defaults` and type parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["NamedTuple", "field", "record"]

if TYPE_CHECKING:
    from dataclasses import dataclass as record
    from dataclasses import field
    from typing import NamedTuple
else:
    from _collections import _tuplegetter  # as `collections.namedtuple` does: half the time of a property

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

    class _named(tuple):
        """What all kinds of NamedTuple share."""

        __slots__ = ()

        @classmethod
        def _make(cls, values):
            made = tuple.__new__(cls, values)
            if len(made) != len(cls._fields):
                raise TypeError(f"Expected {len(cls._fields)} arguments, got {len(made)}")
            return made

        def _replace(self, /, **named):
            made = self._make(map(named.pop, self._fields, self))
            if named:
                raise ValueError(f"Got unexpected field names: {list(named)!r}")
            return made

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __getnewargs__(self):
            return tuple(self)

        __repr__ = _repr

    class _Kinds(type):
        """Makes a plain subclass of `_named` of each ``class Point(NamedTuple)``."""

        def __new__(meta, name, bases, body):
            if not bases:
                return super().__new__(meta, name, bases, body)
            names = tuple(body.get("__annotations__", ()))
            defaults = {each: body[each] for each in names if each in body}
            for at, each in enumerate(names):
                body[each] = _tuplegetter(at, "")
            body["__slots__"] = ()
            body["_fields"] = body["__match_args__"] = names
            body["__new__"] = first = _new_until_first(names, defaults)
            first.made = made = type(name, (_named,), body)
            return made

    class NamedTuple(metaclass=_Kinds):
        """Base of a tuple whose elements have names, with defaults for the last ones."""

    def _new_until_first(names, defaults):
        def __new__(cls, *args, **named):
            values = {f"_default_{name}": value for name, value in defaults.items()}
            parameters = [f"{name}=_default_{name}" if name in defaults else name for name in names]
            text = f"lambda _cls, {', '.join(parameters)}: _new(_cls, ({''.join(name + ', ' for name in names)}))"
            real = eval(text, {"_new": tuple.__new__, **values})
            real.__name__ = "__new__"
            __new__.made.__new__ = staticmethod(real)
            return real(cls, *args, **named)

        return __new__
