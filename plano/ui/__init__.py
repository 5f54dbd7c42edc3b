"""The page at `/ui`: the requests that pass through this gateway, and a playground.

The gateway serves every file of the page; there is no build step, and the page makes no request to another host. The
page itself holds no data. It reads `/ui/data`, which asks for a caller's key if the gateway does.
"""

from __future__ import annotations

from plano.ui.pages import Ui

__all__ = ["Ui"]
