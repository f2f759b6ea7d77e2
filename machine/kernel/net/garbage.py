"""Sockets that only messages still hold: the collector of descriptors in flight (net/unix/garbage.c).

A process can send a socket through itself, or two sockets through each other, and close them: each is kept by a
message in a queue that nobody can read any more.  So whenever a descriptor of a socket in flight is closed, those whose
every reference is a message are looked at: what no message outside of them holds is dropped.  Linux does it later, in
a work queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Optional

from machine.kernel.net.scm import scm_destroy
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


def unix_gc(unix: UnixTable, closing: Optional[file] = None) -> None:
    """Drop the files in flight that can't arrive any more; a descriptor's reference of `closing` is about to go."""
    candidates = {filp for filp, count in unix.inflight.items() if filp.f_count - (filp is closing) == count}
    if not candidates:
        return
    inside = dict.fromkeys(candidates, 0)
    for filp in candidates:
        for skb in _messages_of(filp.private_data):
            for each in skb.files:
                if each in inside:
                    inside[each] += 1
    reachable = [filp for filp in candidates if unix.inflight[filp] > inside[filp]]
    while reachable:
        filp = reachable.pop()
        if filp not in candidates:
            continue
        candidates.discard(filp)
        for skb in _messages_of(filp.private_data):
            reachable += [each for each in skb.files if each in candidates]
    garbage: list[file] = []
    for filp in candidates:
        for skb in _messages_of(filp.private_data):
            unix.not_in_flight(skb)
            garbage += skb.files
            skb.files = []
    scm_destroy(unix.kernel, garbage)
