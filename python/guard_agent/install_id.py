"""The identifier of an installation, stored in the user's home directory."""

import logging
from pathlib import Path

from guard_agent import _native

_logger = logging.getLogger("guard_agent.install_id")


def resolve_install_id(*, state_path: Path | None = None, override: str | None = None) -> str:
    """Returns the installation's identifier. Creates and stores it on first use.

    A file that cannot be read or written is only logged. The identifier then
    lasts as long as the process.

    Args:
        state_path: The file that stores it, by default ~/.guard-agent/install-id.
        override: Returned unchanged, if not blank.
    """
    identifier, not_kept = _native.resolve_install_id(state_path, override)
    if not_kept is not None:
        _logger.warning(
            "The installation's identifier cannot be kept (%s); set install_id to give one.",
            not_kept,
        )
    return identifier
