"""Fixtures of the end-to-end tests."""

import base64
import os

import pytest


@pytest.fixture
def encryption_key() -> str:
    """A new 256-bit key as projects get it. It begins with a hyphen, as one in 64 keys does."""
    return base64.urlsafe_b64encode(b"\xf8" + os.urandom(31)).decode()
