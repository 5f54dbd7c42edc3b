"""What the gateway remembers: turns that can be continued, and conversations, in one of four stores.

`open_store(StateSettings(...))` gives a `Store`. See `docs/state.md` for choosing among them.
"""

from plano.state.backend import IMPORTED, Item, Order, Page, Turn
from plano.state.settings import StateSettings, StoreType, open_store
from plano.state.store import Store

__all__ = ["IMPORTED", "Item", "Order", "Page", "StateSettings", "Store", "StoreType", "Turn", "open_store"]
