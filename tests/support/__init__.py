"""Helpers for several suites: servers, processes, certificates, proxies and relays."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
