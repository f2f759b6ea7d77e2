"""What the options and the markers of a test ask for: its machine, and what is kept of it.

Loaded with the plugin in every run of pytest on the computer: it imports nothing of the machine until a test asks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import pytest

if TYPE_CHECKING:
    from machine.testing.harness import Plan

_COVERAGE = pytest.StashKey[Any]()
_OWN_BLOCKS = pytest.StashKey[Any]()


def ini(name: str) -> str:
    return "nopage_" + name.replace("-", "_")


def option(config: pytest.Config, name: str) -> str:
    """What the command line says, else the configuration file."""
    given = config.getoption(f"--nopage-{name}")
    return str(config.getini(ini(name)) if given is None else given)


def parsed(item: pytest.Item, name: str, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(option(item.config, name))
    except ValueError as error:
        from machine.testing import messages

        raise refused(item, messages.bad_option(f"--nopage-{name}", str(error))) from None


def which_reports(text: str) -> str:
    if text not in ("all", "failed"):
        raise ValueError(f"'{text}' is not all or failed")
    return text


def coverage_of(config: pytest.Config) -> Any:
    """What all tests of this process add to; None where nobody wants it."""
    lines, blocks = config.getoption("--nopage-cov"), config.getoption("--nopage-drcov")
    if not lines and not blocks:
        return None
    if _COVERAGE not in config.stash:
        from machine.observe.coverage import Coverage
        from machine.observe.drcov import Blocks
        from machine.testing.covered import Covered

        config.stash[_COVERAGE] = Covered(Coverage() if lines else None, [Blocks()] if blocks else [])
    return config.stash[_COVERAGE]


def _covered_by(item: pytest.Item) -> Any:
    """What the runs of one test add to: what all do, and --nopage-drcov-dir's file of this test."""
    shared = coverage_of(item.config)
    if not option(item.config, "drcov-dir"):
        return shared
    if _OWN_BLOCKS not in item.stash:
        from machine.observe.drcov import Blocks

        item.stash[_OWN_BLOCKS] = Blocks()
    from machine.testing.covered import Covered

    others = [] if shared is None else shared.blocks
    return Covered(None if shared is None else shared.lines, [*others, item.stash[_OWN_BLOCKS]])


def write_own_blocks(item: pytest.Item) -> None:
    """The test is over, with its fixtures: its file in --nopage-drcov-dir, if its programs ran."""
    blocks = item.stash.get(_OWN_BLOCKS, None)
    path = report_path(item, option(item.config, "drcov-dir"), ".drcov")
    if blocks is not None and path is not None and blocks.modules:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            blocks.write(open(path, "wb"))  # noqa: SIM115 (`write` closes it)
        except OSError as error:
            from machine.testing import messages

            text = messages.cannot_write("--nopage-drcov-dir", str(path), error.strerror or str(error))
            raise refused(item, text) from None


def strace_wanted(config: pytest.Config) -> bool:
    return bool(config.getoption("--nopage-strace") or config.getini("nopage_strace"))


def report_path(item: pytest.Item, directory: str, suffix: str = ".html") -> Optional[Path]:
    """DIR/test_timer.py-test_starts[x86_64].html, with nothing in it that a file's name can't have."""
    if not directory:
        return None
    return Path(directory) / (re.sub(r"[^\w.\[\]=,+-]+", "-", item.nodeid).strip("-") + suffix)


def _add_devices(item: pytest.Item, plan: Plan) -> None:
    """Drivers and models of the test's markers; those of the module and the class first."""
    for marker in reversed(list(item.iter_markers("device"))):
        options = dict(marker.kwargs)
        named = options.pop("block", None)
        where = marker.args[0] if marker.args else ""
        model = marker.args[1] if len(marker.args) > 1 else named
        if model is None:
            plan.drivers.append(where)
        else:
            plan.attachments.append((where, model, options))


def _misbehaviour(item: pytest.Item) -> list[str]:
    """What the test's markers ``misbehaves`` name."""
    return [text for marker in item.iter_markers("misbehaves") for text in marker.args]


def _wrong_markers(item: pytest.Item) -> str:
    """What is wrong with a ``device`` or ``misbehaves`` marker before anything is tried; "" for nothing."""
    from machine.testing import messages

    for marker in item.iter_markers("misbehaves"):
        try:
            compiled = [re.compile(text) for text in marker.args]
        except (re.error, TypeError) as error:
            return messages.no_expression(marker.args, str(error))
        if not compiled or marker.kwargs:
            return messages.misbehaves_how()
    for marker in item.iter_markers("device"):
        if not marker.args or not isinstance(marker.args[0], str):
            return messages.device_without_place(marker.args[0] if marker.args else None)
    return ""


def refused(item: pytest.Item, text: str) -> BaseException:
    """The test asks for what can't be: the text alone, with the place of the test."""
    from machine.testing import messages

    path, line, _ = item.reportinfo()
    return pytest.fail.Exception(messages.at_test((os.fspath(path), (line or 0) + 1), text), pytrace=False)


def _board(item: pytest.Item) -> Optional[str]:
    marker = item.get_closest_marker("board")
    if marker is None:
        return option(item.config, "board") or None
    if len(marker.args) != 1:
        from machine.testing import messages

        raise refused(item, messages.board_wants_a_name())
    name = os.fspath(marker.args[0])
    beside = item.path.parent / name
    return str(beside) if beside.is_file() else name


def views_of(item: pytest.Item) -> Any:
    """What the options want of each run of `for_each_fault`."""
    from machine.testing.foreach import Views

    return Views(
        report=report_path(item, option(item.config, "report")),
        waves=report_path(item, option(item.config, "vcd"), ".vcd"),
        strace=strace_wanted(item.config),
    )


def plan_of(item: pytest.Item) -> Plan:
    """How to make the machine of a test, or of a test function that is about to become several."""
    from machine.config import parse_ram, parse_seconds
    from machine.testing.harness import Plan

    wrong = _wrong_markers(item)
    if wrong:
        raise refused(item, wrong)
    plan = Plan(
        ram=parsed(item, "ram", parse_ram),
        board=_board(item),
        directories=[item.path.parent],
        timeout=parsed(item, "timeout", parse_seconds),
        misbehaves=_misbehaviour(item),
        coverage=_covered_by(item),
    )
    _add_devices(item, plan)
    return plan


def last_words(item: pytest.Item) -> str:
    """The process is about to end in the middle of a test: what follows is to be seen."""
    capture = item.config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.suspend_global_capture(in_=False)
    return f"{item.nodeid}\n"
