"""Collections of garbage that do not keep callers waiting.

A full collection walks through all that lives: schema, types and libraries, 100,000 containers that stay as long as the
process does. That takes 70 ms, and whoever asks at that moment waits for it.
"""

from __future__ import annotations

import gc


def settle() -> None:
    """Have collections pass by all that lives now. For a process that serves one app, once it is ready."""
    gc.collect()
    gc.freeze()
