"""Device drivers, a file each, as a reader of *Linux Device Drivers* would write them in Python.

A driver imports `machine.kernel.linux` and nothing else of this project.  `Machine(devices=["scullp"])` loads one by
its name, ``nopage devices`` lists them.
"""
