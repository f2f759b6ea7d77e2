"""Figures, measured side by side: the host itself, qemu's user mode, and nopage, in one run.

python -m bench [--rounds 9] [--only NAME] [--json FILE]
"""
