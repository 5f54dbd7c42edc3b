"""Ids of this dialect: the reply's `resp_…`, its items' `msg_…`, `rs_…`, `fc_…` and `ctc_…`.

Items that came from another dialect have no id; the writers give them one that is made of the reply's id
and the item's place, and that says so. The next request's reader knows such ids, and leaves them out: no
upstream has heard of them.
"""

from __future__ import annotations

import re

from plano.dialects.signatures import holds_seal

REPLY = "resp_"
MESSAGE = "msg_"
REASONING = "rs_"
FUNCTION = "fc_"
CUSTOM = "ctc_"

MINTED = "_plano_"
"""Marks an item id of ours."""

_MINTED = re.compile(rb'"(?:msg|rs|fco?|ctco?|item)_plano_')


def hands_back(body: bytes) -> bool:
    """Whether a request's body holds an item id of ours, or another vendor's seal."""
    return holds_seal(body) or any_minted(body)


def any_minted(body: bytes) -> bool:
    """Whether a request's body holds an item id of ours, and so cannot be forwarded as it is."""
    return body.find(b"_plano_") >= 0 and _MINTED.search(body) is not None


def item_id(prefix: str, reply: str, index: int) -> str:
    """The id of the item at `index` in the output of `reply` (an id from `reply_id`)."""
    return f"{prefix}plano_{reply[len(REPLY) :]}_{index}"


def is_minted(id_: bytes) -> bool:
    """Whether the id, as JSON, is one of ours."""
    return _MINTED.match(id_) is not None
