"""The identifier of an installation, kept in the user's home."""

import logging
import os
import uuid
from pathlib import Path

_logger = logging.getLogger("guard_agent.install_id")


def resolve_install_id(*, state_path: Path | None = None, override: str | None = None) -> str:
    """Returns the installation's identifier, making and keeping one on first use.

    A file that cannot be read or written is logged, never fatal: the identifier then
    lasts as long as the process.

    Args:
        state_path: The file that keeps it, by default ~/.guard-agent/install-id.
        override: Returned as it is, if not empty.
    """
    if override:
        return override
    try:
        path = state_path or Path.home() / ".guard-agent" / "install-id"
        known = _read(path)
        return known or _keep(path, str(uuid.uuid4()))
    except (OSError, RuntimeError) as error:
        _logger.warning(
            "The installation's identifier cannot be kept (%s); set install_id to give one.", error
        )
        return str(uuid.uuid4())


def _read(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return None
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


def _keep(path: Path, identifier: str) -> str:
    """Writes the identifier whole or not at all: other processes may start at the same time."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(identifier + "\n", encoding="utf-8")
    try:
        os.link(draft, path)
    except OSError:
        # Kept by another process meanwhile; replaced only if unreadable.
        if _read(path) is None:
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return _read(path) or identifier
