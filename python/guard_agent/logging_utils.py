"""Logging for programs that have not set up logging themselves.

The agent logs to the standard logger "guard_agent" and its children, and installs no
handlers on its own.
"""

import json
import logging
from collections.abc import Generator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from typing_extensions import Self

LOGGER_NAME = "guard_agent"
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
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


class AgentLogger(logging.Logger):
    """A logger that can be awaited; awaiting returns the logger itself, at once.

    `setup_agent_logging` was a coroutine in fastapi-guard-agent 0.1.
    """

    def __await__(self) -> Generator[Any, Any, "Self"]:
        """Returns the logger."""
        return self
        yield  # The yield makes this a generator, as `__await__` requires.


def setup_agent_logging(
    log_file: str | None = None,
    log_format: Literal["text", "json"] = "text",
    *,
    reconfigure: bool = True,
    log_level: str = "INFO",
) -> AgentLogger:
    """Makes the agent log to the console, and to a file if one is given.

    Use the return value directly, or await it first.

    Args:
        log_file: Opened for appending; missing folders are created. A level name, which older
            programs pass here, is used as `log_level`.
        log_format: "text" for people or "json" for machines, one line each.
        reconfigure: Whether to replace handlers that the logger already has.
        log_level: The lowest level that is logged, by name.

    Returns:
        The logger "guard_agent", the same as from `logging.getLogger`.

    Raises:
        ValueError: `log_format` or `log_level` is unknown.
        OSError: The file cannot be opened.
    """
    if log_format not in ("text", "json"):
        raise ValueError(f'log_format: {log_format!r} is unknown; give "text" or "json"')
    if log_file in _LEVELS:
        return setup_agent_logging(None, log_format, reconfigure=reconfigure, log_level=log_file)
    if log_level not in _LEVELS:
        raise ValueError(f"log_level: {log_level!r} is unknown; give one of {', '.join(_LEVELS)}")
    logger = _awaitable(logging.getLogger(LOGGER_NAME))
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
    logger.setLevel(log_level)
    # If the root logger has handlers too, lines would otherwise appear twice.
    logger.propagate = False
    return logger


def _awaitable(logger: logging.Logger) -> AgentLogger:
    """Makes the logger awaitable. It stays an instance of the program's logger class."""
    own = type(logger)
    if own is logging.Logger:
        logger.__class__ = AgentLogger
    elif not isinstance(logger, AgentLogger):
        logger.__class__ = type(own.__name__, (AgentLogger, own), {})
    return cast(AgentLogger, logger)


def _file_handler(log_file: str) -> logging.Handler:
    path = Path(log_file)
    path.parent.mkdir(parents=True, exist_ok=True)
    return logging.FileHandler(path, encoding="utf-8")
