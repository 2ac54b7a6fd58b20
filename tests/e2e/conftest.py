"""Fixtures of the end-to-end tests."""

import base64
import os

import pytest


@pytest.fixture
def encryption_key() -> str:
    """A fresh 256-bit key, as projects are given it."""
    return base64.urlsafe_b64encode(os.urandom(32)).decode()
