"""Certificates for servers on this machine, created by the openssl command."""

import subprocess
from pathlib import Path


class Authority:
    """Signs certificates; its own certificate is in `certificate`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate = folder / "ca.pem"
        self.key = folder / "ca.key"
        self._openssl("req", "-x509", *self._new_key(self.key, "Test CA"), "-out", self.certificate)

    def issue(self, host: str, days: int = 2) -> Path:
        """A file with a key and a certificate for `host`, expired if `days` is negative."""
        key, request = self.folder / f"{host}.key", self.folder / f"{host}.csr"
        certificate, chain = self.folder / f"{host}.crt", self.folder / f"{host}.pem"
        name = ("-addext", f"subjectAltName=DNS:{host}")
        leaf = ("-addext", "basicConstraints=CA:FALSE")
        self._openssl("req", *self._new_key(key, host), *name, *leaf, "-out", request)
        signed = ("-CA", self.certificate, "-CAkey", self.key, "-copy_extensions", "copyall")
        self._openssl(
            "x509", "-req", "-in", request, *signed, "-days", str(days), "-out", certificate
        )
        chain.write_bytes(key.read_bytes() + certificate.read_bytes())
        return chain

    def self_signed(self, host: str, *options: str) -> Path:
        """A file with a key and a self-signed certificate for `host`, as openssl creates it with
        these additional options."""
        key, certificate = self.folder / "self.key", self.folder / "self.crt"
        self._openssl("req", "-x509", *self._new_key(key, host), *options, "-out", certificate)
        chain = self.folder / "self.pem"
        chain.write_bytes(key.read_bytes() + certificate.read_bytes())
        return chain

    def _new_key(self, key: Path, name: str) -> list[str | Path]:
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        return [*kind, "-keyout", key, "-subj", f"/CN={name}"]

    def _openssl(self, *arguments: str | Path) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)
