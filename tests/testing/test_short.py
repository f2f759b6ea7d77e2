"""``inject(..., short=N)`` for each call that may do less than it is asked for, by a program that copes with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from machine.testing.foreach import SAME
from tests.conftest import build, run_on_host

TARGETS = pytest.mark.parametrize("target", ["x86_64", "i386"])
MOVER = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define SIZE 10
static char text[] = "0123456789", got[SIZE + 1];
static int file, ends[2];

/* One call that moves what is left from `done` on, in two pieces where it takes vectors. */
static long move(const char *how, int done)
{
	char *from = text + done, *to = got + done;
	int left = SIZE - done, half = left / 2;
	struct iovec out[2] = {{from, half}, {from + half, left - half}}, in[2] = {{to, half}, {to + half, left - half}};
	struct msghdr m_out = {.msg_iov = out, .msg_iovlen = 2}, m_in = {.msg_iov = in, .msg_iovlen = 2};
	loff_t at = done, where = done;
	if (!strcmp(how, "read")) return lseek(file, done, SEEK_SET), read(file, to, left);
	if (!strcmp(how, "write")) return write(ends[0], from, left);
	if (!strcmp(how, "readv")) return lseek(file, done, SEEK_SET), readv(file, in, 2);
	if (!strcmp(how, "writev")) return writev(ends[0], out, 2);
	if (!strcmp(how, "preadv")) return preadv(file, in, 2, done);
	if (!strcmp(how, "pwritev")) return pwritev(file, out, 2, done);
	if (!strcmp(how, "pread64")) return pread(file, to, left, done);
	if (!strcmp(how, "pwrite64")) return pwrite(file, from, left, done);
	if (!strcmp(how, "send")) return send(ends[0], from, left, 0);
	if (!strcmp(how, "recv")) return recv(ends[1], to, left, 0);
	if (!strcmp(how, "sendmsg")) return sendmsg(ends[0], &m_out, 0);
	if (!strcmp(how, "recvmsg")) return recvmsg(ends[1], &m_in, 0);
	if (!strcmp(how, "sendfile")) return lseek(file, done, SEEK_SET), sendfile(ends[0], file, 0, left);
	if (!strcmp(how, "splice")) return splice(file, &where, ends[0], 0, left, 0);
	if (!strcmp(how, "copy_file_range")) return syscall(SYS_copy_file_range, file, &where, file, &at, 0, 0);
	return -1;
}

int main(int argc, char **argv)
{
	const char *how = argv[1];
	int reads = strstr(how, "recv") || (strstr(how, "read")), type = argc > 2 ? SOCK_SEQPACKET : SOCK_STREAM, done = 0;
	char name[] = "/tmp/moverXXXXXX";
	file = mkstemp(name);
	unlink(name);
	if (!strcmp(how, "splice") ? pipe(ends) : socketpair(AF_UNIX, type, 0, ends)) return perror("ends"), 2;
	if (!strcmp(how, "splice")) {
		int swap = ends[0];
		ends[0] = ends[1], ends[1] = swap;
	}
	if (strcmp(how, "pwritev") && strcmp(how, "pwrite64")) {
		int target = strstr(how, "recv") ? ends[0] : file;
		if (pwrite(file, text, SIZE, 0) != SIZE || (target != file && write(target, text, SIZE) != SIZE))
			return perror("text"), 3;
	}
	while (done < SIZE) {
		long moved = move(how, done);
		if (moved <= 0) return perror(how), 4;
		done += moved;
	}
	if (!strcmp(how, "pwritev") || !strcmp(how, "pwrite64")) {
		if (pread(file, got, SIZE, 0) != SIZE) return perror("pread"), 5;
	} else if (!reads) {
		for (done = 0; done < SIZE;) {
			long moved = read(ends[1], got + done, SIZE - done);
			if (moved <= 0) return perror("read"), 6;
			done += moved;
		}
	}
	return printf("%s\n", got), strcmp(got, text) != 0;
}
"""
CALLS = [
    "read", "write", "readv", "writev", "preadv", "pwritev", "pread64", "pwrite64", "send", "recv",
    "sendmsg", "recvmsg", "sendfile", "splice",
]  # fmt: skip
CALLED = {
    "x86_64": {"send": "sendto", "recv": "recvfrom"},
    "i386": {"send": "sendto", "recv": "recvfrom", "sendfile": "sendfile64"},
}


@TARGETS
def test_every_call_gets_three_bytes(run: Any, inject: Any, target: str) -> None:
    """The program moves the same bytes as on the host, three at a time; a call that gets all is no hit."""
    program = build(MOVER, target=target)
    for call in CALLS:
        expected = run_on_host(program, [call])
        assert (expected.exit, expected.stdout) == (0, b"0123456789\n"), (call, expected)
        called = CALLED[target].get(call, call)
        made = inject(call if call != "sendfile" else called, short=3)
        r = run(program, call)
        assert (r.exit, r.stdout, r.stderr) == (0, expected.stdout, b""), call
        made.off()
        moved = [each.result for each in r.syscalls.named(called) if each.result > 0]
        assert "3, 3, 3, 1" in str(moved), (call, moved)
        assert len(made.hits) >= 3 and all(hit.startswith(f"{called} of ") for hit in made.hits), (call, made.hits)


@TARGETS
@pytest.mark.parametrize("libc", ["musl", "glibc"])
def test_through_socketcall(run: Any, inject: Any, target: str, libc: str) -> None:
    """glibc's i386 programs have one call for all of sockets."""
    program = build(MOVER, target=target, libc=libc, static=libc == "musl")
    for call in ("send", "recvmsg", "sendmsg"):
        made = inject(call, short=4)
        r = run(program, call)
        assert (r.exit, r.stdout) == (0, b"0123456789\n") and len(made.hits) == 2, (call, made, r.stderr)
        made.off()
    if libc == "glibc" and target == "i386":
        assert r.syscalls.named("socketcall")
    failed = inject("socketpair", errno="EMFILE")
    assert run(program, "send").exit == 2 and failed.hits[0].startswith("socketpair of ")


@TARGETS
@pytest.mark.filterwarnings("ignore:.* did nothing")
def test_messages_are_never_cut(run: Any, inject: Any, target: str) -> None:
    """A short send of a packet can't be: it goes whole or not at all."""
    program = build(MOVER, target=target)
    for call in ("send", "recvmsg", "sendmsg", "write"):
        expected = run_on_host(program, [call, "packets"])
        made = inject(call, short=3)
        r = run(program, call, "packets")
        assert (r.exit, r.stdout) == (0, b"0123456789\n") == (expected.exit, expected.stdout), call
        made.off()
        if call != "write":  # to its standard output it is a write as any
            assert made.hits == [], call


@TARGETS
def test_one_after_the_other(for_each_fault: Any, target: str) -> None:
    program: Path = build(MOVER, target=target)
    for call in ("sendmsg", "preadv", "send"):
        report = for_each_fault([program, call], f"short:{call}")
        assert [each.verdict for each in report] == [SAME], str(report)
