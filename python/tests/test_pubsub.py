"""Subscriptions by themselves. Topics between workers are tested end to end, in tests/e2e/test_pubsub.py."""

import sys
import threading
import time

from conftest import runtime
from fake_front import DEADLINE_S

sys.path.append(str(runtime()))

from bireme.pubsub import Subscription  # noqa: E402


def test_every_thread_that_waits_hears_of_the_end():
    subscription = Subscription("topic", None, lambda closed: None)
    threads = [threading.Thread(target=list, args=(subscription,), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + DEADLINE_S
    # Until all of them wait.
    while len(subscription._changed._waiters) < len(threads) and time.monotonic() < deadline:
        time.sleep(0.01)
    subscription.close()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert not any(thread.is_alive() for thread in threads)
