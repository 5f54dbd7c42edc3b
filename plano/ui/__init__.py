"""The page at `/ui`: what goes through this gateway right now, and a playground.

Everything is served from here: no build step, no outside request. The page itself says nothing; what it shows comes
from `/ui/data`, which asks for a caller's key wherever the gateway does.
"""

from __future__ import annotations

from plano.ui.pages import Ui

__all__ = ["Ui"]
