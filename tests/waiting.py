"""Waiting for what happens, however busy the machine is: `PATIENCE` only ends what hangs."""

import time

PATIENCE = 900  # seconds


def until(condition, what="", alive=lambda: True):
    """What the condition gives when it first holds; fails where `alive` says that it never will."""
    end = time.monotonic() + PATIENCE
    while True:
        is_alive = alive()  # asked first: what happened before the end counts
        found = condition()
        if found:
            return found
        assert is_alive, f"ended before {what or 'what was waited for'}"
        assert time.monotonic() < end, f"waited in vain for {what or 'something'}"
        time.sleep(0.02)
