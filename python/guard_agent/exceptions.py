"""What the agent raises.

`send_event` and `send_metric` raise nothing but `BufferFullError`, and that only under
`buffer_overflow_policy="raise"`.
"""


class GuardAgentError(Exception):
    """The base of the agent's own errors."""


class BufferFullError(GuardAgentError):
    """The queue is full and `buffer_overflow_policy` is "raise"; the record was not taken."""


class PermanentClientError(GuardAgentError):
    """A backend refused a request in a way that sending it again cannot change.

    Attributes:
        status_code: The HTTP status of the answer.
        detail: What the backend said, or "".
    """

    def __init__(self, status_code: int, detail: str = "") -> None:
        """Describes the refusal of a request."""
        self.status_code = status_code
        self.detail = detail
        text = f"the backend refused the request with HTTP {status_code}"
        super().__init__(f"{text}: {detail}" if detail else text)


class PayloadTooLargeError(PermanentClientError):
    """A backend answered 413: the body was larger than it accepts."""

    def __init__(self, detail: str = "") -> None:
        """Describes the refusal of a body for its size."""
        super().__init__(413, detail)
