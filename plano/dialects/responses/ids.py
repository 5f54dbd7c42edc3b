"""The ids of this dialect: the reply's `resp_…`, its items' `msg_…`, `rs_…`, `fc_…`, `ctc_…` and `tsc_…`.

Items that came from another dialect have no id. The writers give them a marked one, made of the reply's id
and the item's place. When such an id comes back in a request, the reader leaves it out, because no upstream knows it.
"""

from __future__ import annotations

import re

from plano.dialects.call_seals import holds_field
from plano.dialects.signatures import holds_seal

REPLY = "resp_"
MESSAGE = "msg_"
REASONING = "rs_"
FUNCTION = "fc_"
CUSTOM = "ctc_"
SEARCH = "tsc_"
COMPACTION = "cmp_"
WEB_SEARCH = "ws_"

OF_CALLS = {"function": FUNCTION, "custom": CUSTOM, "search": SEARCH}
"""The prefixes of items that are calls, by the kind of the call."""

MINTED = "_plano_"
"""The mark in an item id that plano made up."""

_MINTED = re.compile(rb'"(?:msg|rs|fco?|ctco?|tsc|cmp|ws|item)_plano_')


def hands_back(body: bytes) -> bool:
    """Whether a request's body holds an item id of ours, another vendor's seal, or a field that only chat upstreams
    know."""
    return holds_seal(body) or any_minted(body) or holds_field(body)


def any_minted(body: bytes) -> bool:
    """Whether a request's body holds an item id that plano made up, and so cannot be forwarded as it is."""
    return body.find(b"_plano_") >= 0 and _MINTED.search(body) is not None


def item_id(prefix: str, reply: str, index: int) -> str:
    """Make up an id for the item at `index` in the output of `reply`, which is an id from `reply_id`."""
    return f"{prefix}plano_{reply[len(REPLY) :]}_{index}"


def is_minted(id_: bytes) -> bool:
    """Whether plano made up this id, which is given as JSON."""
    return _MINTED.match(id_) is not None
