"""Exceptions that the agent raises.

`send_event` and `send_metric` raise only `BufferFullError`, and only under
`buffer_overflow_policy="raise"`.
"""


class GuardAgentError(Exception):
    """The base class of the agent's errors."""


class BufferFullError(GuardAgentError):
    """The queue is full and `buffer_overflow_policy` is "raise"; the record was not accepted."""


class PermanentClientError(GuardAgentError):
    """A backend rejected a request, and a retry would not help.

    Attributes:
        status_code: The HTTP status of the response.
        detail: The backend's message, or "".
    """

    def __init__(self, status_code: int, detail: str = "") -> None:
        """Describes the rejection of a request."""
        self.status_code = status_code
        self.detail = detail
        text = f"the backend refused the request with HTTP {status_code}"
        super().__init__(f"{text}: {detail}" if detail else text)


class PayloadTooLargeError(PermanentClientError):
    """A backend answered 413: the body was larger than it accepts."""

    def __init__(self, detail: str = "") -> None:
        """Describes the rejection of a body for its size."""
        super().__init__(413, detail)
