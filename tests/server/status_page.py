"""What tests of the page at /ui do as a person would."""

from __future__ import annotations

from chromium import Browser

KEY_FIELD = "document.querySelector('input[type=password]')"


def enter(browser: Browser, token: str) -> None:
    """By keyboard alone."""
    # A field that is not shown yet takes no text.
    browser.wait_until(f"{KEY_FIELD}?.checkVisibility() ?? false")
    browser.evaluate(f"{KEY_FIELD}.focus()")
    browser.type(token)
    browser.press("Enter", "\r")
