"""Waiting for a condition, with a deadline."""
import os
import time

# Slow machines get more: WEIR_TEST_PATIENCE=3 multiplies every deadline.
PATIENCE = float(os.environ.get("WEIR_TEST_PATIENCE", "1"))


def wait_for(condition, timeout=30.0, what=None, every=0.05):
    """The first true result of condition(). @what may be a function that describes how it stands."""
    deadline = time.monotonic() + timeout * PATIENCE
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            said = what() if callable(what) else (what or getattr(condition, "__name__", "condition"))
            raise AssertionError(f"not within {timeout * PATIENCE:.0f} s: {said}")
        time.sleep(every)
