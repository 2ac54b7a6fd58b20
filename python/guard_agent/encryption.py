"""Encrypted payloads: AES-256-GCM with the project's key.

The agent itself encrypts when `project_encryption_key` is set. This module is for
programs that read such payloads or write their own.
"""

import json
from typing import Any

from guard_agent import _native


class EncryptionError(Exception):
    """A payload could not be encrypted or decrypted."""


class EncryptionConfigError(RuntimeError):
    """The project's encryption key is not usable. The text does not show the key."""


class PayloadEncryptor:
    """Encrypts and decrypts JSON objects with one project key.

    Args:
        project_key: 32 bytes as URL-safe base64.

    Raises:
        EncryptionConfigError: The key is not base64, or not 32 bytes long.

    Example:
        >>> encryptor = PayloadEncryptor("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
        >>> encryptor.decrypt(encryptor.encrypt({"events": []}))
        {'events': []}
    """

    def __init__(self, project_key: str) -> None:
        """Reads the key."""
        try:
            self._encryptor = _native.Encryptor(project_key)
        except ValueError as error:
            raise EncryptionConfigError(f"project_encryption_key: {error}") from None

    def encrypt(self, data: dict[str, Any], associated_data: str | None = None) -> str:
        """Returns `data` as JSON, encrypted with a fresh nonce, as URL-safe base64.

        Args:
            data: What to encrypt.
            associated_data: Bound to the payload but not part of it; the same text must be
                given to `decrypt`. Payloads for a Guard backend have none.

        Raises:
            EncryptionError: `data` is not JSON, or the system provides no random bytes.
        """
        try:
            plain = json.dumps(data, separators=(",", ":"), default=str).encode()
            return self._encryptor.encrypt(plain, _associated(associated_data))
        except (TypeError, ValueError) as error:
            raise EncryptionError(f"the payload could not be encrypted: {error}") from error

    def decrypt(self, encrypted_data: str, associated_data: str | None = None) -> dict[str, Any]:
        """Returns the object that was passed to `encrypt`.

        Raises:
            EncryptionError: The payload was not made with this key and `associated_data`,
                was changed since, or holds no JSON object.
        """
        try:
            plain = self._encryptor.decrypt(encrypted_data, _associated(associated_data))
            data = json.loads(plain)
        except ValueError as error:
            raise EncryptionError(f"the payload could not be decrypted: {error}") from error
        if not isinstance(data, dict):
            raise EncryptionError("the payload could not be decrypted: it holds no JSON object")
        return data

    def verify_key(self) -> bool:
        """Returns whether encrypting and decrypting with the key works."""
        probe = {"probe": "guard"}
        try:
            return self.decrypt(self.encrypt(probe)) == probe
        except EncryptionError:
            return False


def create_encryptor(project_key: str | None) -> PayloadEncryptor | None:
    """Returns an encryptor for `project_key`, or None when there is no key.

    Raises:
        EncryptionConfigError: The key is not usable.
    """
    return None if project_key is None else PayloadEncryptor(project_key)


def _associated(text: str | None) -> bytes:
    return b"" if text is None else text.encode()
