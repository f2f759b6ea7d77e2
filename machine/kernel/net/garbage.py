"""Sockets that only messages still hold: the collector of descriptors in flight (net/unix/garbage.c).

A process can send a socket through itself, or two sockets through each other, and close them: each is kept by a
message in a queue that nobody can read any more.  Linux looks for such circles among all sockets in flight, whenever
one is closed, which takes a loop that passes sockets the square of their number.  Here a socket that has lost a
reference is looked at by itself (`unix_gc_of`): who holds it, and who them, until somebody from outside does, which is
the first in most cases.  All of them are looked at (`unix_gc`) as often as makes a step a close at most: that finds
what a call still held when its descriptor was closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Optional

from machine.kernel.net.sock import TCP_LISTEN, sk_buff, sock

if TYPE_CHECKING:
    from machine.kernel.fs.file import file
    from machine.kernel.net.table import UnixTable


def _messages_of(sk: sock) -> Iterator[sk_buff]:
    """The messages with files in a socket's queue; those of a listener are in the queues of its new connections."""
    for skb in sk.queue:
        if sk.sk_state == TCP_LISTEN:
            yield from _messages_of(skb.sk)
        elif skb.files:
            yield skb


def _only_messages(unix: UnixTable, filp: file, closing: Optional[file]) -> bool:
    """Whether every reference of the file is a message; one of `closing` is about to go."""
    unix.gc_steps += 1
    flight = unix.inflight.get(filp)
    return flight is not None and filp.f_count - (filp is closing) == flight.count


def unix_gc_of(unix: UnixTable, filp: file, closing: Optional[file] = None) -> None:
    """`filp`, which is in flight, has lost a reference: when no message that holds it can be received any more, it
    goes, and with it all that hold it.  A descriptor's reference of `closing` is about to go."""
    if not _only_messages(unix, filp, closing):
        return
    found, new = {filp: None}, [filp]
    while new:
        for receiver in unix.inflight[new.pop()].receivers:
            holder = (receiver.listener or receiver).file
            if holder in found:
                continue
            if holder is None or not _only_messages(unix, holder, closing):
                return
            found[holder] = None
            new.append(holder)
    _drop(unix, found)


def unix_gc(unix: UnixTable) -> None:
    """Drop all files in flight that can't arrive any more."""
    unix.closes = 0
    candidates = {filp for filp in unix.inflight if _only_messages(unix, filp, None)}
    reachable = [filp for filp in candidates if _held_from_outside(unix, filp, candidates)]
    while reachable:
        filp = reachable.pop()
        if filp not in candidates:
            continue
        candidates.discard(filp)
        for skb in _messages_of(filp.private_data):
            unix.gc_steps += 1
            reachable += [each for each in skb.files if each in candidates]
    _drop(unix, candidates)


def _held_from_outside(unix: UnixTable, filp: file, candidates: set[file]) -> bool:
    for each in unix.inflight[filp].receivers:
        unix.gc_steps += 1
        if (each.listener or each).file not in candidates:
            return True
    return False


def _drop(unix: UnixTable, garbage: Iterable[file]) -> None:
    """The messages in the queues of these sockets are gone, and what they held."""
    from machine.kernel.net.scm import scm_destroy

    files: list[file] = []
    for filp in garbage:
        for skb in _messages_of(filp.private_data):
            unix.not_in_flight(skb)
            files += skb.files
            skb.files = []
    if files:
        scm_destroy(unix.kernel, files)
