"""The capabilities of APIs as rows of data, and the changes that fit a request to them.

A provider has a row for all of its models, and further rows by the ids of models. The writers of the dialects read in a
row how to say something; `Takes.fit` changes the top-level fields of a body. A provider's `prepare` does what rows
cannot express.
"""

from plano.capabilities.fields import (
    Fields,
    decoded,
    developer_as_system,
    encoded,
    object_in,
    rename,
    strip,
    strip_unless,
)
from plano.capabilities.rows import OWN_FIELDS, Refused, Takes, limits, takes_of
from plano.capabilities.thinking import Thinking

__all__ = [
    "OWN_FIELDS",
    "Fields",
    "Refused",
    "Takes",
    "Thinking",
    "decoded",
    "developer_as_system",
    "encoded",
    "limits",
    "object_in",
    "rename",
    "strip",
    "strip_unless",
    "takes_of",
]
