"""``nopage sweep``: a program run once for each thing that can fail, on many processors or many computers.

`job.py` is what a run is made of, and goes to other computers; `command.py` the command line; `places.py` where runs
are made; `journal.py` what is done already; `summary.py` the page about it.
"""
