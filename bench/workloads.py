"""What is measured, and what is hoped for.

A workload is a C program of `bench/programs` that prints one number: nanoseconds for one of what it does.  Where
`whole` is set the number is the time of the whole process instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Target:
    """At most `limit`: of nopage's own figure (`against` ""), or of its ratio to another column or workload."""

    limit: float
    against: str = ""
    """``""``, a peer, or the name of another workload."""
    reason: str = ""


@dataclass(frozen=True)
class Workload:
    name: str
    what: str
    unit: str
    program: str
    arguments: tuple[str, ...] = ()
    peers: tuple[str, ...] = ("host", "qemu", "nopage")
    devices: tuple[str, ...] = ()
    view: tuple[str, ...] = ()
    """Options of `nopage run` whose cost is measured: the peer "without" goes without them."""
    peer_arguments: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Other arguments for some peers."""
    whole: bool = False
    target: Optional[Target] = None

    def arguments_for(self, peer: str) -> tuple[str, ...]:
        return dict(self.peer_arguments).get(peer, self.arguments)


WORKLOADS = (
    Workload("sha256", "SHA-256 of 4 MiB", "ns/byte", "sha256", ("4096",), target=Target(3, "qemu", "compute")),
    Workload(
        "sieve", "primes below 16 million", "ns/number", "sieve", ("16000000",), target=Target(3, "qemu", "stores")
    ),
    Workload(
        "getppid",
        "the cheapest system call",
        "ns/call",
        "getppid",
        ("200000",),
    ),
    Workload(
        "anonymous",
        "first touch of anonymous memory",
        "ns/page",
        "anonymous",
        ("8192",),
        target=Target(0.8, "qemu", "batches of 64"),
    ),
    Workload(
        "device-touch",
        "first touch through `nopage` of scullp",
        "ns/page",
        "device",
        ("/dev/scullp0", "2048"),
        peers=("floor", "nopage"),
        devices=("scullp",),
    ),
    Workload("stores", "4-byte stores over 3 MiB of anonymous memory", "ns/store", "pixels", ("anonymous",)),
    Workload(
        "frame-buffer",
        "the same through a mapping of /dev/fb0",
        "ns/store",
        "pixels",
        ("/dev/fb0",),
        peers=("nopage",),
        devices=("fb",),
        target=Target(1.1, "stores", "it is memory, not callbacks"),
    ),
    Workload(
        "areas-100",
        "mmap, mprotect, touch, munmap with 100 areas alive",
        "ns/round",
        "areas",
        ("100", "1000"),
    ),
    Workload(
        "areas-10000",
        "the same with 10,000 areas alive",
        "ns/round",
        "areas",
        ("10000", "1000"),
        target=Target(2, "areas-100", "the number of areas must not matter"),
    ),
    Workload(
        "mremap",
        "16 pages moved, grown and shrunk",
        "ns/call",
        "mremap",
        ("1000",),
    ),
    Workload(
        "sigsegv",
        "a SIGSEGV whose handler repairs and retries",
        "ns/signal",
        "sigsegv",
        ("1000",),
    ),
    Workload(
        "start-up",
        "a static hello, the whole process",
        "ms",
        "hello",
        peers=("host", "qemu", "import unicorn", "nopage"),
        whole=True,
        target=Target(2.5, "import unicorn", "what Python and the engine take before anything of ours"),
    ),
    Workload(
        "no-view-calls",
        "getppid, nobody watching",
        "ns/call",
        "getppid",
        ("200000",),
        peers=("without", "nopage"),
        target=Target(1.05, "without", "the tests for listeners"),
    ),
    Workload(
        "no-view-touch",
        "first touch through `nopage` of scullp, nobody watching",
        "ns/page",
        "device",
        ("/dev/scullp0", "2048"),
        peers=("without", "nopage"),
        devices=("scullp",),
        target=Target(1.05, "without", "the tests for listeners"),
    ),
    Workload(
        "faults-crc",
        "`--faults`: CRC-32 of a scullp device through its mapping",
        "ns/page",
        "crc",
        ("/dev/scullp0", "8192"),
        peers=("without", "nopage"),
        devices=("scullp",),
        view=("--faults=/dev/null",),
        target=Target(1.5, "without", "a program that faults at every page"),
    ),
    Workload(
        "faults-touch",
        "`--faults`: first touches and nothing else",
        "ns/page",
        "device",
        ("/dev/scullp0", "8192"),
        peers=("without", "nopage"),
        devices=("scullp",),
        view=("--faults=/dev/null",),
    ),
    Workload(
        "strace-tree",
        "`--strace`: a tree walked, its files read",
        "ns/entry",
        "tree",
        ("/usr/share", "1000"),
        peers=("without", "nopage"),
        view=("--strace=/dev/null",),
        target=Target(2, "without", "a program of system calls"),
    ),
    Workload(
        "strace-files",
        "`--strace`: one small file opened, looked at, read, closed",
        "ns/call",
        "files",
        ("/etc/passwd", "4000"),
        peers=("without", "nopage"),
        view=("--strace=/dev/null",),
    ),
)
