"""Memory of plano's own processes. A process that mounts plano is left as it is."""

from __future__ import annotations

import gc

from plano.runtime import heap


def tune_memory() -> None:
    """Tunes the memory of plano's own process."""
    spare_the_collector()
    heap.give_back()


def spare_the_collector() -> None:
    """Makes the cycle collector run less often, because requests leave no cycles behind and most other objects live as
    long as the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
