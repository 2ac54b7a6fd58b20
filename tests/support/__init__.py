"""What several suites share: servers, processes, certificates and what stands between them."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
