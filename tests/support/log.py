"""The agent's log messages, which come from its own threads."""

import logging
import threading

from support.process import PATIENCE_SECONDS


class Log(logging.Handler):
    """Collects the records of the logger "guard_agent" within a `with` block."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self._arrived = threading.Condition()
        self._logger = logging.getLogger("guard_agent")

    def __enter__(self) -> "Log":
        self._logger.addHandler(self)
        self._logger.setLevel(logging.INFO)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(logging.NOTSET)

    def emit(self, record: logging.LogRecord) -> None:
        with self._arrived:
            self.records.append(record)
            self._arrived.notify_all()

    def wait_for(self, text: str) -> logging.LogRecord:
        """The first record whose message contains `text`."""

        def found() -> list[logging.LogRecord]:
            return [record for record in self.records if text in record.getMessage()]

        with self._arrived:
            self._arrived.wait_for(found, PATIENCE_SECONDS)
            seen = [record.getMessage() for record in self.records]
            assert found(), f"{text!r} was not logged, but {seen}"
            return found()[0]
