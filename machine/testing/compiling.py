"""`guest_cc`: a C file of the test as a program of the guest."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Union

import pytest

from guest.toolchain import CompileError, ToolMissing, compile, zig_version
from machine.testing import messages

SOURCES: dict[str, Path] = {}
"""Program -> directory of its source: debugging information has no absolute paths."""


def compile_for_guest(source: Any, directory: Path, options: dict[str, Any]) -> Path:
    """The program of a C file (looked for beside the test, then in the current directory) or of a text.

    The test fails, with the compiler's words, where there is no such file or it doesn't compile.
    """
    __tracebackhide__ = True
    text = isinstance(source, str) and "\n" in source
    wanted: Any = source if text else _find(source, directory)
    target = options.get("target", "x86_64")
    try:
        program = compile(wanted, **{**_usual(options), **options})
    except CompileError as error:
        said = str(error)
    except ToolMissing as error:
        pytest.fail(messages.no_compiler(str(error)), pytrace=False)
    else:
        SOURCES[str(program)] = directory if text else wanted.parent
        return program
    pytest.fail(messages.does_not_compile("the text" if text else source, target, said), pytrace=False)


def _usual(options: dict[str, Any]) -> dict[str, Any]:
    """What is not said: static with musl, and with the computer's own libc where nothing here has musl."""
    if "libc" in options or options.get("cc") == "zig" or zig_version() is not None:
        return {}
    musl = options.get("target", "x86_64") == "x86_64" and shutil.which("musl-gcc")
    return {} if musl else {"libc": "glibc"}


def _find(source: Union[str, os.PathLike[str]], directory: Path) -> Path:
    __tracebackhide__ = True
    places = [directory, Path.cwd()]
    for place in places:
        if (place / source).is_file():
            return place / source
    shown = list(dict.fromkeys(str(place) for place in places))
    pytest.fail(messages.no_source(source, shown), pytrace=False)
