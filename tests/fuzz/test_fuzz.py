"""Hostile input of each kind: a few seeds, then, in CI, more until NOPAGE_FUZZ_SECONDS (60) are over (E2).

These go on from NOPAGE_FUZZ_SEED, the same each time: a change is not blamed for what was there before.
`python -m tests.fuzz --seconds 3600` is the long form.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from guest.toolchain import ToolMissing
from tests.fuzz.findings import GROWTH, WARM, Findings, campaign
from tests.fuzz.kinds import KINDS, MAY_GROW

SECONDS = float(os.environ.get("NOPAGE_FUZZ_SECONDS", "0"))
SEED = int(os.environ.get("NOPAGE_FUZZ_SEED", "1000000"))
FIXED = {"calls": 6, "calls32": 6, "elf": 1, "options": 4, "gdb": 2, "boards": 3, "devices": 3, "ioctl": 3}
"""Kind -> fixed seeds, 1 and on."""
FEWEST = {"calls": 3000, "calls32": 3000, "elf": 200, "options": 100, "gdb": 4000, "boards": 180, "devices": 3000,
          "ioctl": 3000}  # fmt: skip
"""Kind -> cases that these make at least."""
SHARE = {"options": 0.25}
"""Kind -> how much of the time it has, where not all: a command line is its user's own, and no guest's or file's."""


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_input(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    growth = MAY_GROW.get(kind, GROWTH)
    try:
        found = campaign(KINDS[kind], seeds=FIXED[kind], growth=growth)
    except ToolMissing as missing:
        pytest.skip(str(missing))
    assert not found.problems, "\n".join(found.problems)
    assert found.cases >= FEWEST[kind]
    seconds = SECONDS * SHARE.get(kind, 1)
    if found.seconds < seconds:
        found = campaign(KINDS[kind], SEED, seconds=seconds - found.seconds, growth=growth)
        assert not found.problems, "\n".join(found.problems)


def test_growth_is_a_problem() -> None:
    """Each seed keeps 8 MiB: more than what other tests of this process left to be freed meanwhile."""
    kept: list[bytearray] = []

    def leak(seed: int) -> Findings:
        kept.append(bytearray(b"x") * (8 << 20))
        return Findings(cases=1)

    found = campaign(leak, 1, seeds=WARM + 20)
    assert (found.seeds, found.cases) == (WARM + 20, WARM + 20)
    assert found.grown > GROWTH
    assert found.problems == [f"{found.grown >> 20} MiB more after {WARM + 20} seeds than after {WARM}"]
    kept.clear()
    assert not campaign(lambda seed: Findings(cases=1), 1, cases=WARM + 20).problems
