"""Compile C programs for the guest, and remember the results.

    from guest.toolchain import compile
    program = compile(Path("hello.c"), target="i386")

The compiler is ziglang's (``pip install 'nopage[cc]'``): one package that compiles for both targets, with musl
(static) and glibc 2.36 (dynamic only).  ``cc="host"`` takes the computer's own `cc` instead, which also links glibc
statically; so does a computer without ziglang.

Programs are kept under ``$XDG_CACHE_HOME/nopage`` by content: the source, the headers beside it and in
`guest/include`, the flags and the compiler's version.  Files appear there by rename, so that several processes may
compile at once.  Builds are reproducible: no absolute path is written into a program.

ziglang rebuilds its libc for every set of linker options that matters to it, with or without debugging information
in it.  Here every program is linked with the one that has none, by the very command that ziglang itself uses
(`_link_command`): a program then holds the debugging information of its own source alone.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from guest import INCLUDE, TARGETS

GLIBC = "2.36"
"""The oldest glibc that a program linked by ziglang runs with."""

_ARCH = {"x86_64": "x86_64", "i386": "x86"}
_IMAGE_BASE = {"x86_64": 0x400000, "i386": 0x8048000}
_INCLUDE = re.compile(rb'^[ \t]*#[ \t]*include[ \t]+"([^"\n]+)"', re.MULTILINE)
_LAYOUT = 1
"""Part of every key: raised when this file changes what it makes of the same input."""


class ToolMissing(RuntimeError):
    """No compiler for what was asked; the message says what to install."""


class CompileError(RuntimeError):
    """The compiler refused the program; the message is the compiler's."""


@dataclass(frozen=True)
class Build:
    """What to make: one point of the matrix target x libc x linking."""

    target: str
    libc: str
    static: bool
    pie: bool
    flags: tuple[str, ...]

    def zig_target(self) -> str:
        libc = "musl" if self.libc == "musl" else f"gnu.{GLIBC}"
        return f"{_ARCH[self.target]}-linux-{libc}"

    def link_name(self) -> str:
        """Names the link command: what of a build chooses start files and libraries."""
        return f"{self.zig_target()}-{'static' if self.static else 'dynamic'}{'-pie' if self.pie else ''}"


def cache_directory() -> Path:
    """``$XDG_CACHE_HOME/nopage``, made where missing."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    directory = Path(base) / "nopage"
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ToolMissing(f"no place for compiled programs: {error}; set XDG_CACHE_HOME") from None
    return directory


def compile(
    source: Path | str,
    *,
    target: str = "x86_64",
    libc: str = "musl",
    static: bool = True,
    pie: bool | None = None,
    flags: Sequence[str] = (),
    cc: str | None = None,
    again: bool = False,
) -> Path:
    """Compile `source` and return the path of the program.

    `source` is a path, or the text of a C program (any string with a line end in it).  `pie` None means what
    compilers do unasked: position independent where dynamic, fixed where static.  `flags` are further compiler
    flags (the linker gets those that begin with ``-Wl,``, and the host's those with ``-l``).  `cc` is None (ziglang,
    else the host's compiler), ``"zig"`` or ``"host"``.  `again` compiles even what is remembered.

    Raises `CompileError`, `ToolMissing`, and `ValueError` for a target or libc that does not exist.
    """
    if target not in TARGETS:
        raise ValueError(f"no such target: {target!r} (there are {', '.join(TARGETS)})")
    if libc not in ("musl", "glibc"):
        raise ValueError(f"no such libc: {libc!r} (there are musl, glibc)")
    build = Build(target, libc, static, not static if pie is None else pie, tuple(flags))
    compiler = _choose(build, cc)
    name, text, directory = _read(source)
    key = _key(compiler.version(), build, name, text, directory)
    program = cache_directory() / "programs" / key / Path(name).stem
    if again or not program.exists():
        with tempfile.TemporaryDirectory(prefix="nopage-") as work:
            if directory is None:
                directory = Path(work)
                (directory / name).write_bytes(text)
            output = Path(work) / "program"
            compiler.build(build, directory, name, output)
            _keep(output, program, again)
    return program


def _read(source: Path | str) -> tuple[str, bytes, Path | None]:
    """(file name, contents, directory) of a source; the directory is None for a text."""
    if isinstance(source, str) and "\n" in source:
        return "program.c", source.encode(), None
    path = Path(source).resolve()
    return path.name, path.read_bytes(), path.parent


def _key(version: str, build: Build, name: str, text: bytes, directory: Path | None) -> str:
    digest = hashlib.sha256(f"{_LAYOUT} {version} {build} {name} {len(text)}\n".encode() + text)
    for place in (INCLUDE, directory):
        for header in sorted(place.glob("*.h")) if place is not None else ():
            digest.update(f"\n{header.name} {header.stat().st_size}\n".encode() + header.read_bytes())
    for header in _included(text, directory):
        digest.update(f"\n{header.stat().st_size}\n".encode() + header.read_bytes())
    return digest.hexdigest()[:32]


def _included(text: bytes, directory: Path | None) -> list[Path]:
    """The files of other directories that `#include "../..."` leads to, and what those include."""
    found: dict[Path, None] = {}
    left = [] if directory is None else [(text, directory)]
    while left:
        source, place = left.pop()
        for name in _INCLUDE.findall(source):
            header = (place / os.fsdecode(name)).resolve()
            if header not in found and header.is_file():
                found[header] = None
                left.append((header.read_bytes(), header.parent))
    return [header for header in found if header.parent not in (INCLUDE, directory)]


def _keep(output: Path, place: Path, again: bool = False) -> None:
    """Put a finished file at `place` in one step; unless `again`, what somebody else has just put there stays, since it
    may be running."""
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=place.parent)
    os.close(handle)
    shutil.copyfile(output, temporary)
    os.chmod(temporary, 0o755)
    if not again:
        try:
            os.link(temporary, place)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            os.replace(temporary, place)
            return
        os.unlink(temporary)
        return
    os.replace(temporary, place)


def _run(command: Sequence[str], directory: Path, environment: dict[str, str] | None = None) -> str:
    """Run a compiler; its standard error, or `CompileError` with it."""
    done = subprocess.run(
        command, cwd=directory, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CompileError((done.stderr or done.stdout).strip() or f"{command[0]}: exit {done.returncode}")
    return done.stderr


# ---------------------------------------------------------------------------------------------- choosing a compiler


def _choose(build: Build, cc: str | None) -> Zig | Host:
    if cc not in (None, "zig", "host"):
        raise ValueError(f"no such compiler: {cc!r} (there are zig, host)")
    only_host = build.libc == "glibc" and build.static
    if cc == "zig" and only_host:
        raise ToolMissing("ziglang has no static glibc: use musl, or cc='host'")
    if cc != "host" and not only_host and zig_version() is not None:
        return Zig()
    if cc == "zig":
        raise ToolMissing("no C compiler for the guest: pip install 'nopage[cc]'")
    return Host(_host_compiler(build))


@functools.cache
def zig_version() -> str | None:
    """The version of the ziglang package, None where it is not installed."""
    if importlib.util.find_spec("ziglang") is None:
        return None
    return importlib.metadata.version("ziglang")


def _host_compiler(build: Build) -> str:
    name = "cc" if build.libc == "glibc" else "musl-gcc"
    found = shutil.which(name) if build.libc == "glibc" or build.target == "x86_64" else None
    if found is None:
        need = "a C compiler (Debian: apt install gcc gcc-multilib), or " if build.libc == "glibc" else ""
        raise ToolMissing(f"nothing here compiles for {build.target} with {build.libc}: {need}pip install 'nopage[cc]'")
    return found


def _prefix_maps(directory: Path) -> list[str]:
    """Flags that keep absolute paths out of the debugging information."""
    return [f"-ffile-prefix-map={directory}=.", f"-ffile-prefix-map={INCLUDE}=include"]


class Host:
    """The computer's own compiler."""

    def __init__(self, path: str) -> None:
        self.path = path

    def version(self) -> str:
        return self.path + " " + _run([self.path, "-v"], Path("/"))

    def build(self, build: Build, directory: Path, name: str, output: Path) -> None:
        pie = ("-static-pie" if build.static else "-pie") if build.pie else "-static" if build.static else "-no-pie"
        command = [self.path, "-m32" if build.target == "i386" else "-m64", "-g", "-O1"]
        command += [pie, "-fPIE" if build.pie else "-fno-pie", f"-I{INCLUDE}", *_prefix_maps(directory)]
        try:
            _run([*command, *_compiler_flags(build), name, "-o", str(output), *_libraries(build)], directory)
        except CompileError as error:
            if build.target == "i386" and re.search(r"cannot find|skipping incompatible|No such file", str(error)):
                hint = "(for i386 Debian's compiler wants: apt install gcc-multilib)"
                raise CompileError(f"{error}\n{hint}") from None
            raise


def _libraries(build: Build) -> list[str]:
    return [flag for flag in build.flags if flag.startswith("-l")]


def _compiler_flags(build: Build) -> list[str]:
    return [flag for flag in build.flags if not flag.startswith("-l")]


# ------------------------------------------------------------------------------------------------------- ziglang


class Zig:
    """The compiler of the ziglang package."""

    command = (sys.executable, "-m", "ziglang")

    def version(self) -> str:
        return f"zig {zig_version()}"

    def environment(self) -> dict[str, str]:
        cache = str(cache_directory() / "zig")
        return {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}

    def build(self, build: Build, directory: Path, name: str, output: Path) -> None:
        thing = output.with_suffix(".o")
        linker = self._link_command(build)
        # Two defaults of ziglang that C programs about undefined accesses must not have: a trap at signed
        # overflow and misalignment, and checks of the stack.
        command = [*self.command, "cc", "-target", build.zig_target(), "-fno-sanitize=undefined", "-g", "-O1"]
        command += ["-fno-stack-protector", "-fPIE" if build.pie else "-fno-pie", f"-I{INCLUDE}"]
        flags = _compiler_flags(build)
        to_linker = [word for flag in flags if flag.startswith("-Wl,") for word in flag.split(",")[1:]]
        flags = [flag for flag in flags if not flag.startswith("-Wl,")]  # with -c ziglang would link the object so
        command += [*_prefix_maps(directory), f"-ffile-prefix-map={self.home()}=zig", *flags]
        _run([*command, "-c", name, "-o", str(thing)], directory, self.environment())
        linked = [word.format(output=output, object=thing) for word in linker]
        _run([*linked, *to_linker], directory, self.environment())

    @staticmethod
    def home() -> Path:
        spec = importlib.util.find_spec("ziglang")
        assert spec is not None and spec.origin is not None
        return Path(spec.origin).parent

    def _link_command(self, build: Build) -> list[str]:
        """ziglang's own linker command for such a build, with ``{output}`` and ``{object}`` to fill in.

        Asking for it has ziglang build start files and libc, once.  What is kept names no Python: the environment that
        asked may be gone tomorrow.
        """
        kept = cache_directory() / f"linker-{zig_version()}-{build.link_name()}.json"
        with _locked(kept.with_suffix(".lock")):
            if kept.exists():
                words: list[str] = json.loads(kept.read_text())
                if all(Path(word).exists() for word in words if word.startswith("/") and "/zig/" in word):
                    return [*self.command, *words]
            print(
                f"building {build.libc} for {build.target} once: "
                + ("about a minute" if build.libc == "musl" else "a few seconds"),
                file=sys.stderr,
            )
            words = self._ask_for_link_command(build)
            with tempfile.TemporaryDirectory(prefix="nopage-") as work:
                (Path(work) / "link").write_text(json.dumps(words))
                _keep(Path(work) / "link", kept)
        return [*self.command, *words]

    def _ask_for_link_command(self, build: Build) -> list[str]:
        with tempfile.TemporaryDirectory(prefix="nopage-") as work:
            directory = Path(work)
            (directory / "empty.c").write_text("int main(void) { return 0; }\n")
            target = ["-target", build.zig_target(), "-fno-sanitize=undefined", "-fPIE" if build.pie else "-fno-pie"]
            _run([*self.command, "cc", *target, "-c", "empty.c", "-o", "empty.o"], directory, self.environment())
            how = [*(["-static"] if build.static else []), "-pie" if build.pie else "-no-pie", "-Wl,-s"]
            said = _run(
                [*self.command, "cc", *target, *how, "empty.o", "-o", "program"],
                directory,
                {**self.environment(), "ZIG_VERBOSE_LINK": "1"},
            )
        return _as_template(said, build)


def _as_template(said: str, build: Build) -> list[str]:
    """Of what ziglang ran, the last link: without ``-s`` (our own symbols stay), at the usual address."""
    links = [line for line in said.splitlines() if line.startswith("ld.lld ") and " -o program " in line]
    if not links:
        raise ToolMissing("this ziglang does not say how it links: pip install 'nopage[cc]' gets one that does")
    words = shlex.split(links[-1])
    template: list[str] = []
    # libcompiler_rt is one big object, of which a program wants next to nothing.
    words.insert(1, "--gc-sections")
    for word, previous in zip(words, ["", *words], strict=False):
        if word.startswith("stack-size="):
            template.pop()
        elif word.startswith("--image-base=") and not build.pie:
            template.append(f"--image-base={_IMAGE_BASE[build.target]:#x}")
        elif word == "program" and previous == "-o":
            template.append("{output}")
        elif word == "empty.o":
            template.append("{object}")
        elif word != "-s":
            template.append(word)
    return template


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes."""
    with open(path, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


# -------------------------------------------------------------------------------------------------- command line


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m guest.toolchain FILE.c -o OUT --target i386``: exit 0, 1 for an error in the program, 2 for none to
    compile it."""
    parser = argparse.ArgumentParser(prog="python -m guest.toolchain", description="Compile a program for the guest.")
    parser.add_argument("source", type=Path)
    parser.add_argument("-o", dest="output", type=Path, help="where to put it (default: the name without .c)")
    parser.add_argument("--target", choices=TARGETS, default="x86_64")
    parser.add_argument("--libc", choices=("musl", "glibc"), default="musl")
    parser.add_argument("--dynamic", action="store_true", help="link dynamically")
    parser.add_argument("--pie", action=argparse.BooleanOptionalAction, default=None)
    parser.add_argument("--cc", choices=("zig", "host"), default=None)
    parser.add_argument("--flag", action="append", default=[], metavar="FLAG", help="a further flag: --flag=-O2")
    options = parser.parse_args(arguments)
    try:
        program = compile(
            options.source,
            target=options.target,
            libc=options.libc,
            static=not options.dynamic,
            pie=options.pie,
            flags=options.flag,
            cc=options.cc,
        )
    except (CompileError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except ToolMissing as error:
        print(error, file=sys.stderr)
        return 2
    _keep(program, (options.output or options.source.with_suffix("")).resolve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
