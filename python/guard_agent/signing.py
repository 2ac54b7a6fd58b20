"""Payload signatures: HMAC-SHA256, sent in `X-Payload-Signature`."""

from guard_agent import _native


def sign_payload(body: bytes, *, secret: str | None) -> str | None:
    """Returns "v1=HEX" for the uncompressed `body`, or None without a secret.

    Example:
        >>> sign_payload(b"{}", secret="k")
        'v1=add853b103fbcc936a194f9eb15e29c4ff08af6e47d5d1bca4f20218e31e4fff'
    """
    return _native.sign(body, secret) if secret else None
