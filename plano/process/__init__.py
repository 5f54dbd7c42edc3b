"""`plano up` as a process: what it listens on and says, its server, its workers, reloads, and its end."""

from __future__ import annotations
