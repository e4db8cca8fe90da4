"""Bireme's runtime inside a Python worker.

Applications need not import it, but may, for topics. It never opens a TCP socket and never speaks HTTP: the front does.
"""

from .pubsub import Presence, Subscription, TopicsFull, presence, publish, socket, subscribe, topics

__version__ = "0.1.0"
