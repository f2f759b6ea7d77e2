"""Signal queues, frame layouts and TLS descriptors, without a machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from machine.kernel.abi.errno import EINVAL, ESRCH, Errno
from machine.kernel.abi.signal import SI_QUEUE, SIGRTMIN, SIGSEGV, SIGTERM, SIGUSR1
from machine.kernel.task import sigframe32, sigframe64
from machine.kernel.task.deliver import _next_signal
from machine.kernel.task.sighand import sighand_struct
from machine.kernel.task.siginfo import siginfo, sigpending, unpack
from machine.kernel.task.tls import get_tls_entry, set_tls_entry, tls_descriptor


def bit(signo: int) -> int:
    return 1 << (signo - 1)


def test_frames_have_the_sizes_of_the_kernel() -> None:
    assert sigframe64.FRAME_SIZE == 440, "sizeof(struct rt_sigframe)"
    assert sigframe32.FRAME_SIZE == 732, "sizeof(struct sigframe_ia32)"
    assert sigframe32.RT_FRAME_SIZE == 268, "sizeof(struct rt_sigframe_ia32)"


def test_a_queue_keeps_the_order_of_one_number() -> None:
    pending = sigpending()
    for value in range(3):
        pending.list.append(siginfo(SIGRTMIN, SI_QUEUE, value=value))
        pending.signal |= bit(SIGRTMIN)
    assert [pending.collect(SIGRTMIN).value for _ in range(3)] == [0, 1, 2]
    assert pending.signal == 0


def test_a_signal_without_a_record_is_from_nobody() -> None:
    pending = sigpending()
    pending.signal = bit(SIGTERM)
    info = pending.collect(SIGTERM)
    assert (info.signo, info.code, info.pid) == (SIGTERM, 0, 0) and not pending.signal


def test_synchronous_signals_come_first_then_the_lowest() -> None:
    pending = sigpending()
    pending.signal = bit(SIGUSR1) | bit(SIGSEGV) | bit(2)
    assert _next_signal(pending, 0) == SIGSEGV
    assert _next_signal(pending, bit(SIGSEGV)) == 2
    assert _next_signal(pending, bit(SIGSEGV) | bit(2) | bit(SIGUSR1)) == 0


def test_discarded_timer_signals_let_their_timer_go_on() -> None:
    class Timer:
        calls = 0

        def requeue(self, _info: siginfo) -> None:
            self.calls += 1

    pending, timer = sigpending(), Timer()
    info = siginfo(SIGUSR1, -2)
    info.timer = timer
    pending.list.append(info)
    pending.signal = bit(SIGUSR1) | bit(SIGTERM)
    pending.discard(bit(SIGUSR1))
    assert timer.calls == 1 and pending.signal == bit(SIGTERM) and not pending.list


@pytest.mark.parametrize("bits", [32, 64])
def test_a_queued_record_comes_out_as_it_went_in(bits: int) -> None:
    """As far as the kernel keeps it: 48 bytes of x86-64, of i386 the fields."""
    clean = siginfo(SIGRTMIN, SI_QUEUE, pid=7, uid=8, value=0x1234).pack(bits)
    raw = clean[:40] + b"rubbish!" + b"more" + clean[52:]
    info = unpack(raw, bits)
    assert (info.pid, info.uid, info.value) == (7, 8, 0x1234)
    assert info.pack(bits) == (clean if bits == 32 else clean[:40] + b"rubbish!" + clean[48:])
    assert unpack(info.pack(96 - bits), 96 - bits).value == 0x1234, "the other ABI sees the same fields"


def test_exec_keeps_ignored_signals() -> None:
    sighand = sighand_struct()
    sighand.action[SIGUSR1].handler = 1
    sighand.action[SIGTERM].handler, sighand.action[SIGTERM].flags = 0x400000, 4
    sighand.reset_on_exec()
    assert sighand.action[SIGUSR1].handler == 1
    assert (sighand.action[SIGTERM].handler, sighand.action[SIGTERM].flags) == (0, 0)


@given(st.integers(0, 2**32 - 1), st.integers(0, 0xFFFFF), st.sampled_from([0x51, 0x01, 0x59, 0x11, 0x41, 0x53]))
def test_a_tls_entry_reads_back(base: int, limit: int, bits: int) -> None:
    array = [0, 0, 0]
    assert set_tls_entry(array, (13, base, limit, bits)) == 13
    assert get_tls_entry(array, 13) == (13, base, limit, bits)


def test_tls_entries_are_given_out_in_order() -> None:
    array = [0, 0, 0]
    wanted = (0xFFFFFFFF, 0x1000, 0xFFFFF, 0x51)
    assert [set_tls_entry(array, wanted, can_allocate=True) for _ in range(3)] == [12, 13, 14]
    with pytest.raises(Errno) as full:
        set_tls_entry(array, wanted, can_allocate=True)
    assert full.value.errno == ESRCH
    assert set_tls_entry(array, (13, 0, 0, 0x28)) == 13 and array[1] == 0, "an empty description removes it"


@pytest.mark.parametrize("bits", [0x50, 0x55, 0x71, 0xD0])
def test_what_a_tls_entry_must_not_be(bits: int) -> None:
    """16-bit, code, not present, 16-bit with lm."""
    with pytest.raises(Errno) as refused:
        tls_descriptor(0x1000, 0xFFFFF, bits)
    assert refused.value.errno == EINVAL
