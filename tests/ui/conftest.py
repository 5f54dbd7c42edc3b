from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ui.browser import Browser, Page


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.page()
    yield page
    page.close()
