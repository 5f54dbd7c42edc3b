"""Signs requests to providers whose key does not travel as a header.

A key that does is a header like any other: `own_headers` prepares it once for each endpoint, and nothing here runs.
"""

from __future__ import annotations

from plano.credentials.signer import Signer
from plano.provider import Target
from plano.transport import Outgoing
from plano.types import Secret

MAX_SIGNERS = 1000
"""The most signers that are remembered. Their entries come from the configuration, but a filter may make up keys."""


class Signers:
    """The signers of targets, one for each place, so that a token is fetched once for all of its models."""

    def __init__(self) -> None:
        self._signers: dict[tuple[str, Secret | None], Signer] = {}

    def signer_of(self, target: Target) -> Signer | None:
        """The signer of a target; None if its key travels as a header, or if it gets the caller's own key."""
        make = target.provider.signer
        if make is None or target.passthrough_auth:
            return None
        key = target.place, target.key
        found = self._signers.get(key)
        if found is None:
            if len(self._signers) >= MAX_SIGNERS:
                del self._signers[next(iter(self._signers))]
            found = self._signers[key] = make(target)
        return found


async def sign(outgoing: Outgoing, signer: Signer) -> None:
    """Add the signer's headers; they take the place of others of the same names.

    Raises:
        UpstreamError: the signer could not get a credential.
    """
    added = await signer.sign(outgoing)
    names = {name for name, _ in added}
    outgoing.headers = [*(each for each in outgoing.headers if each[0] not in names), *added]
    if not names.isdisjoint(name for name, _ in outgoing.constant):
        outgoing.constant = [each for each in outgoing.constant if each[0] not in names]
