"""Bireme's runtime inside a Python worker.

Applications need not import it. It never opens a TCP socket and never speaks HTTP: the front does.
"""

__version__ = "0.1.0"
