"""Logging of the agent, for programs that have not set up logging themselves.

The agent logs to the standard logger "guard_agent" and its children, and installs no
handlers by itself.
"""

import json
import logging
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

LOGGER_NAME = "guard_agent"
_TEXT_FORMAT = "[%(name)s] %(asctime)s - %(levelname)s - %(message)s"


class JsonFormatter(logging.Formatter):
    """Writes each record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        line = {
            "timestamp": datetime.fromtimestamp(record.created, timezone.utc).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def setup_agent_logging(
    log_file: str | None = None,
    log_format: Literal["text", "json"] = "text",
    *,
    reconfigure: bool = True,
) -> logging.Logger:
    """Makes the agent log at INFO to the console, and to a file if one is given.

    Args:
        log_file: Appended to; folders that lead to it are made.
        log_format: "text" for people or "json" for machines, one line each.
        reconfigure: Whether to replace handlers that the logger already has.

    Returns:
        The logger "guard_agent".

    Raises:
        ValueError: `log_format` is neither of the two.
        OSError: The file cannot be opened.
    """
    if log_format not in ("text", "json"):
        raise ValueError(f'log_format: {log_format!r} is unknown; give "text" or "json"')
    logger = logging.getLogger(LOGGER_NAME)
    if logger.handlers and not reconfigure:
        return logger
    formatter = JsonFormatter() if log_format == "json" else logging.Formatter(_TEXT_FORMAT)
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if log_file is not None:
        handlers.append(_file_handler(log_file))
    for old in list(logger.handlers):
        logger.removeHandler(old)
        old.close()
    for handler in handlers:
        handler.setFormatter(formatter)
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    # Its lines would otherwise appear twice where the root logger has handlers too.
    logger.propagate = False
    return logger


def _file_handler(log_file: str) -> logging.Handler:
    path = Path(log_file)
    path.parent.mkdir(parents=True, exist_ok=True)
    return logging.FileHandler(path, encoding="utf-8")
