"""Random sequences of memory calls give and leave here what they do on the host (E2).

The long form: ``python -m tests.differential.sequences --count 20000``.
"""

from __future__ import annotations

import pytest

from guest.toolchain import ToolMissing
from tests.differential.sequences.compare import Comparison


@pytest.mark.parametrize(
    ("target", "seed", "count", "check"), [("x86_64", 1, 300, False), ("x86_64", 2, 30, True), ("i386", 3, 150, False)]
)
def test_sequences(target: str, seed: int, count: int, check: bool) -> None:
    try:
        comparison = Comparison(target, check)
    except ToolMissing as missing:
        pytest.skip(str(missing))
    with comparison:
        for half in (seed, seed + count):
            different = comparison.differences(half, count // 2)
            assert not different, comparison.explain(comparison.shortened(different[0]))
        assert comparison.steps.looks > 5
        assert not comparison.machine.check_clean()
