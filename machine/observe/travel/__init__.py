"""Going back: a recorded run, snapshots of the whole process, and places in the run."""
