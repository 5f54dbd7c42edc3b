"""Claude Code and Codex as they are, against every kind of upstream: `make test-agents` installs and runs them.

They run in a home of their own, and reach nothing but the gateway in the test's process. The tests look at what the
upstream received.
"""

import pytest

pytest.register_assert_rewrite("tests.agents.command", "tests.agents.scripted")
