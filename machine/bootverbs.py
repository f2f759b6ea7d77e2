"""The verbs ``nopage boot`` and ``nopage boards``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from machine.boards import described, names
from machine.bootscreen import power_on, save_png, screen_lines
from machine.config import MiB, parse_ram


def _ram(text: str) -> int:
    try:
        return parse_ram(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def boot_command(parser: argparse.ArgumentParser, words: Sequence[str]) -> int:
    """Run a board's firmware and print the screen, or what went to the console of a board without one."""
    parser.description = "Switch a board on: run its firmware until it hands over, and show what is on the screen."
    parser.add_argument("--board", metavar="NAME|FILE", help="another board than ldd3-pc (nopage boards lists them)")
    parser.add_argument("--ram", metavar="SIZE", type=_ram, default=512 * MiB, help="its memory (512M)")
    parser.add_argument("--screen", metavar="FILE", help="write the screen as a picture, a PNG, too")
    chosen = parser.parse_args(list(words))
    state = power_on(chosen.board, chosen.ram)
    print("\n".join(screen_lines(state)) or state.console.replace("\r", "").rstrip())
    if chosen.screen is not None:
        save_png(state, chosen.screen)
    return 0


def boards_command(parser: argparse.ArgumentParser, words: Sequence[str]) -> int:
    """List the boards that come with nopage, or show one."""
    parser.description = "List the boards, or show what is on one."
    parser.epilog = "Use one with: nopage run --board NAME|FILE PROGRAM"
    parser.add_argument("name", nargs="?", metavar="NAME|FILE", help="the board to show")
    chosen = parser.parse_args(list(words))
    if chosen.name is not None:
        print("\n".join(described(chosen.name)))
    else:
        print("\n".join(described(name)[0].replace(": ", "\t", 1) for name in names()).expandtabs(12))
    return 0
