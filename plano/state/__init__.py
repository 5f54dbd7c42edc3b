"""The gateway's memory: turns that can be continued, and conversations, in one of four stores.

`open_store(StateSettings(...))` returns a `Store`. `docs/state.md` says how to choose among them.
"""

from plano.state.backend import IMPORTED, Item, Order, Page, Turn
from plano.state.settings import StateSettings, StoreType, open_store
from plano.state.store import Store

__all__ = ["IMPORTED", "Item", "Order", "Page", "StateSettings", "Store", "StoreType", "Turn", "open_store"]
