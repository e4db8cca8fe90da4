"""A module that is loaded for as long as the test wants: until there is a file `open` in the folder GATE."""

import os
import pathlib
import time

GATE = pathlib.Path(os.environ["GATE"])
(GATE / "loading").touch()
while not (GATE / "open").exists():
    time.sleep(0.01)
count = 0


def run():
    global count
    count += 1
    return os.getpid()


def runs():
    return count
