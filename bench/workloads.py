"""What is measured, and what is hoped for.

A workload is a C program of `bench/programs` that prints one number: nanoseconds for one of what it does.  Where
`measure` is "time" the number is the time of the whole process instead, where it is "memory" the most memory that the
process of this computer had at once.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """At most `limit`: of nopage's own figure (`against` ""), or of its ratio to another column or workload."""

    limit: float
    against: str = ""
    """``""``, a peer, or the name of another workload."""
    reason: str = ""
    faster: bool = False
    """The limit is how many times faster than `against` nopage has to be."""

    def met(self, value: float) -> bool:
        return value >= self.limit if self.faster else value <= self.limit


def at_least(limit: float, against: str = "qiling") -> Target:
    """So many times faster."""
    return Target(limit, against, "another emulator of programs on the same engine", True)


@dataclass(frozen=True)
class Workload:
    name: str
    what: str
    unit: str
    program: str
    arguments: tuple[str, ...] = ()
    peers: tuple[str, ...] = ("host", "qemu", "nopage")
    devices: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    """Options of `nopage run` that the workload needs."""
    view: tuple[str, ...] = ()
    """Options of `nopage run` whose cost is measured: the peer "without" goes without them."""
    peer_arguments: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Other arguments for some peers."""
    measure: str = "number"
    """``number``: what the program prints; ``time``: milliseconds of the process; ``memory``: MiB of it at its most."""
    targets: tuple[Target, ...] = ()

    def arguments_for(self, peer: str) -> tuple[str, ...]:
        return dict(self.peer_arguments).get(peer, self.arguments)


ALL = ("host", "qemu", "qiling", "nopage")
SELF, FILE = "@program", "@file"
"""In arguments: the program's own path; a file of 64 MiB."""
OWN = ("without", "nopage")

COMPUTE = (
    Workload(
        "sha256", "SHA-256 of 4 MiB", "ns/byte", "sha256", ("4096",), ALL,
        peer_arguments=(("qiling", ("1024",)),), targets=(Target(2.8, "qemu", "compute"), at_least(3)),
    ),
    Workload(
        "sieve", "primes below 16 million", "ns/number", "sieve", ("16000000",), ALL,
        targets=(Target(2.8, "qemu", "compute"), at_least(3)),
    ),
    Workload(
        "loop-256k", "4-byte stores over 256 KiB, again and again", "ns/store", "pixels",
        ("anonymous", "256", "200"), targets=(Target(3, "qemu", "the engine looks every store up"),),
    ),
    Workload(
        "random-64m", "8-byte stores anywhere in 64 MiB", "ns/store", "random", ("64", "4000000"),
        targets=(Target(5, "qemu", "no TLB of the engine's size holds 64 MiB"),),
    ),
)  # fmt: skip

MEMORY = (
    Workload(
        "anonymous", "first touch of anonymous memory", "ns/page", "anonymous", ("8192",), ALL,
        targets=(Target(0.8, "qemu", "batches of 64"), Target(1, "host", "batches of 64")),
    ),
    Workload(
        "device-touch", "first touch through `nopage` of scullp", "ns/page", "device", ("/dev/scullp0", "2048"),
        ("floor", "binding", "nopage"), ("scullp",),
        targets=(
            Target(2.5, "floor", "the kernel's and the driver's share"),
            Target(2.5, "binding", "what Unicorn's own binding would take at the least"),
        ),
    ),
    Workload("stores", "4-byte stores over 3 MiB of anonymous memory", "ns/store", "pixels", ("anonymous",)),
    Workload(
        "frame-buffer", "the same through a mapping of /dev/fb0", "ns/store", "pixels", ("/dev/fb0",), ("nopage",),
        ("fb",), targets=(Target(1.1, "stores", "it is memory, not callbacks"),),
    ),
    Workload(
        "device-again", "the same through a mapping of /dev/scullp0, touched before", "ns/store", "pixels",
        ("/dev/scullp0", "3072", "20", "fill"), ("nopage",), ("scullp",),
        targets=(Target(1.1, "stores", "it is memory, not callbacks"),),
    ),
    Workload(
        "areas-100", "mmap, mprotect, touch, munmap with 100 areas alive", "ns/round", "areas", ("100", "1000")
    ),
    Workload(
        "areas-1000", "the same with 1,000 areas alive", "ns/round", "areas", ("1000", "1000"), ALL,
        peer_arguments=(("qiling", ("1000", "10")),), targets=(at_least(500),),
    ),
    Workload(
        "areas-10000", "the same with 10,000 areas alive", "ns/round", "areas", ("10000", "1000"),
        targets=(Target(1.5, "areas-100", "the number of areas must not matter"),),
    ),
    Workload(
        "mremap", "16 pages moved, grown and shrunk", "ns/call", "mremap", ("1000",), ALL,
        targets=(Target(10, "qemu", "no worse"),),
    ),
    Workload(
        "sigsegv", "a SIGSEGV whose handler repairs and retries", "ns/signal", "sigsegv", ("1000",), ALL,
        targets=(Target(10, "qemu", "no worse"),),
    ),
)  # fmt: skip

KERNEL = (
    Workload("getppid", "the cheapest system call", "ns/call", "getppid", ("200000",), ALL, targets=(at_least(12),)),
    Workload(
        "fork", "fork, 64 pages copied on write, wait", "ns/child", "fork", ("64", "50"), ALL,
        targets=(Target(4, "qemu", "which forks itself"),),
    ),
    Workload(
        "fork-exec", "fork, exec, wait", "ns/child", "forkexec", ("50", SELF), ALL,
        peer_arguments=(("qemu", ("50", "@qemu", SELF)),), targets=(Target(4, "qemu", "which starts anew"),),
    ),
    Workload(
        "pipe", "512 bytes into a pipe and out", "ns/both", "pipe", ("20000",), ALL, targets=(at_least(10),)
    ),
    Workload(
        "read-file", "a file of 64 MiB read", "ns/KiB", "readfile", (FILE,), ALL, targets=(at_least(10),)
    ),
    Workload(
        "file-touch", "that file mapped, and each page touched", "ns/page", "filetouch", (FILE,), ALL,
        targets=(at_least(10),),
    ),
)  # fmt: skip

PROCESS = (
    Workload(
        "start-up", "a static hello, the whole process", "ms", "hello",
        peers=("host", "qemu", "qiling", "import unicorn", "nopage"), measure="time",
        targets=(Target(2, "import unicorn", "what Python and the engine take before anything of ours"),),
    ),
    Workload(
        "memory-hello", "memory of the host's process: hello", "MiB", "hello",
        peers=("host", "qemu", "qiling", "import unicorn", "nopage"), measure="memory",
        targets=(Target(90, reason="a machine of 512 MiB that is not touched"),),
    ),
    Workload(
        "memory-100m", "the same: 100 MiB touched in a machine of 4 GiB", "MiB", "anonymous", ("25600",), ALL,
        options=("--ram", "4G"), measure="memory", targets=(Target(220, reason="100 MiB and tables"),),
    ),
)  # fmt: skip

VIEWS = (
    Workload(
        "no-view-calls", "getppid, nobody watching", "ns/call", "getppid", ("200000",), OWN,
        targets=(Target(1.05, "without", "the tests for listeners"),),
    ),
    Workload(
        "no-view-touch", "first touch through `nopage` of scullp, nobody watching", "ns/page", "device",
        ("/dev/scullp0", "2048"), OWN, ("scullp",), targets=(Target(1.05, "without", "the tests for listeners"),),
    ),
    Workload(
        "faults-crc", "`--faults`: CRC-32 of a scullp device through its mapping", "ns/page", "crc",
        ("/dev/scullp0", "8192"), OWN, ("scullp",), view=("--faults=/dev/null",),
        targets=(Target(1.5, "without", "a program that faults at every page"),),
    ),
    Workload(
        "faults-touch", "`--faults`: first touches and nothing else", "ns/page", "device", ("/dev/scullp0", "8192"),
        OWN, ("scullp",), view=("--faults=/dev/null",),
    ),
    Workload(
        "strace-tree", "`--strace`: a tree walked, its files read", "ns/entry", "tree", ("/usr/share", "1000"), OWN,
        view=("--strace=/dev/null",), targets=(Target(2, "without", "a program of system calls"),),
    ),
    Workload(
        "gdb-sieve", "`--gdb`: the sieve, gdb attached", "ns/number", "sieve", ("8000000",), OWN, view=("--gdb",),
        targets=(Target(1.1, "without", "nothing is in the way of code that does not stop"),),
    ),
    Workload(
        "gdb-calls", "`--gdb`: getppid, gdb attached", "ns/call", "getppid", ("200000",), OWN, view=("--gdb",),
        targets=(Target(1.1, "without", "nothing is in the way of code that does not stop"),),
    ),
    Workload(
        "strace-files", "`--strace`: one small file opened, looked at, read, closed", "ns/call", "files",
        ("/etc/passwd", "4000"), OWN, view=("--strace=/dev/null",),
    ),
)  # fmt: skip

WORKLOADS = COMPUTE + MEMORY + KERNEL + PROCESS + VIEWS
