"""Lets the tests import `harness`, which lives beside this file."""
