"""Fixtures of the end-to-end tests."""

import base64
import os

import pytest


@pytest.fixture
def encryption_key() -> str:
    """A fresh 256-bit key as projects are given it; it begins with a hyphen, as one of 64 does."""
    return base64.urlsafe_b64encode(b"\xf8" + os.urandom(31)).decode()
