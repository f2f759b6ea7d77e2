"""``nopage tour``: the two chapters on mmap as a guided session.

Every stop loads the driver that the book speaks of, runs compiled programs on it, and holds what the book says
against what happened: page tables, counts, calls into the driver, the kernel's log.
"""
