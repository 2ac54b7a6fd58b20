"""A real PostgreSQL in a temporary folder.

    python -m engines.postgres

The user `guard` owns it and needs no password. Others need one, so tests can make users who may
not sign in. It takes TLS with a certificate of the authority in `ca.pem`, beside its data, and its
time zone is not UTC.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.certificates import Authority
from support.process import PATIENCE_SECONDS, eventually

USER = "guard"
READY = "database system is ready to accept connections"
AUTHENTICATION = """\
local all all reject
host all guard 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
"""
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "timezone": "America/New_York",
    "max_connections": "300",
    "shared_buffers": "32MB",
    "ssl": "on",
    # A process that is killed loses nothing by this, only a machine.
    "fsync": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


class PostgresServer:
    """A PostgreSQL on a free port of this machine, with its data in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "log"
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        return f"postgres://{USER}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def create(self) -> None:
        """Makes the files of a new server."""
        authority = Authority(self.folder)
        chain = authority.issue("localhost")
        chain.chmod(0o600)
        _give_away(self.folder)
        command = [_program("initdb"), "--pgdata", str(self.data), "--username", USER]
        command += ["--encoding=UTF8", "--locale=C.UTF-8", "--auth=trust"]
        command += ["--no-sync", "--no-instructions"]
        with self.log.open("ab") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log, cwd="/", **_account())
        settings = {**SETTINGS, "ssl_cert_file": str(chain), "ssl_key_file": str(chain)}
        lines = [f"{name} = '{value}'\n" for name, value in settings.items()]
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(lines)
        (self.data / "pg_hba.conf").write_text(AUTHENTICATION)

    def start(self) -> "PostgresServer":
        """Starts it, and waits until it answers."""
        begin = self.log.stat().st_size
        command = [_program("postgres"), "-D", str(self.data), "-p", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/", **_account()
            )
        eventually(lambda: READY in self._output(begin) or self._ended())
        if self._ended():
            raise RuntimeError(f"PostgreSQL ended: {self._output(begin)}")
        return self

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Ends it: by SIGINT with its connections, by SIGKILL as in a crash."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE_SECONDS)
            self.process = None

    def _ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def _output(self, begin: int) -> str:
        with self.log.open("rb") as log:
            log.seek(begin)
            return log.read().decode(errors="replace")


def _program(name: str) -> str:
    """The newest installed version: Debian has its programs in a folder for each version."""
    folders = Path("/usr/lib/postgresql").glob("*/bin")
    versions = sorted(folders, key=lambda folder: int(folder.parent.name), reverse=True)
    path = os.pathsep.join([*map(str, versions), os.environ.get("PATH", "")])
    program = shutil.which(name, path=path)
    if program is None:
        raise RuntimeError(f"{name} is missing; install it, as by apt-get install postgresql")
    return program


def _account() -> dict[str, Any]:
    """Whom to run as: PostgreSQL refuses root."""
    if os.getuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    entry = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _give_away(folder: Path) -> None:
    """Makes whom it runs as the owner of a folder and of what is in it."""
    account = _account()
    if account:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, account["user"], account["group"])


@contextmanager
def running() -> Iterator[PostgresServer]:
    """A new PostgreSQL, which is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="guard-postgres-") as folder:
        server = PostgresServer(Path(folder))
        server.create()
        try:
            yield server.start()
        finally:
            server.stop(signal.SIGQUIT)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with running() as server:
        print(server.url(), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
