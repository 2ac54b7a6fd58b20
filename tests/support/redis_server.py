"""A real Redis that listens on a port, for `redis_url`, and the records that agents keep in it."""

import json
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis

from support.process import PATIENCE_SECONDS, eventually

# Writes every change to disk before the response.
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
RECORDS = "guard_agent:{default}:records"


class RedisServer:
    """A redis-server on a free port of this machine, with its data in `folder`.

    Args:
        folder: The directory for its data.
        options: More command-line options; without any it keeps nothing on disk.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self.folder = folder
        self.options = options
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "RedisServer":
        program = shutil.which("redis-server")
        assert program, "redis-server is missing; install it, as by apt-get install redis-server"
        command = [program, "--bind", "127.0.0.1", "--port", str(self.port), "--save", ""]
        command += ["--dir", str(self.folder), *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        eventually(self._listens)
        return self

    def _listens(self) -> bool:
        socket.create_connection(("127.0.0.1", self.port), 1).close()
        return True

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Sends the signal, if the server runs, and waits for its end."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE_SECONDS)
            self.process = None

    def kill(self) -> None:
        """Kills it, as in a crash."""
        self.stop(signal.SIGKILL)

    def freeze(self) -> None:
        """Stops it from answering, until `thaw`."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def client(self) -> Any:
        """A client separate from the agents' clients."""
        return redis.Redis.from_url(self.url, decode_responses=True)

    def has_loaded(self) -> bool:
        """Whether it has loaded its data from disk."""
        with self.client() as client, suppress(redis.BusyLoadingError):
            return bool(client.ping())
        return False

    def waiting(self) -> int:
        """The number of waiting records."""
        with self.client() as client:
            return int(client.xlen(RECORDS))

    def keys(self, *kinds: str) -> set[str]:
        """The idempotency keys of the waiting records of these kinds."""
        with self.client() as client:
            fields = [fields for _, fields in client.xrange(RECORDS)]
        records = [json.loads(each[kind]) for each in fields for kind in kinds if kind in each]
        return {record["idempotency_key"] for record in records}

    def pending(self) -> dict[str, int]:
        """The number of waiting records of each process that has the stream."""
        with self.client() as client:
            found = client.xinfo_consumers(RECORDS, "agents")
        return {consumer["name"]: consumer["pending"] for consumer in found}

    def let_leases_lapse(self) -> None:
        """Ends the lease of every process, as half a minute without a heartbeat would."""
        with self.client() as client:
            for lease in client.keys("guard_agent:{default}:lease:*"):
                client.delete(lease)


class TlsRedisServer(RedisServer):
    """A `RedisServer` that accepts only TLS.

    Args:
        folder: The directory for its data.
        chain: A file with its key and its certificate, which is for localhost.
        trusted: The file with the certificate of its authority.
    """

    def __init__(self, folder: Path, chain: Path, trusted: Path) -> None:
        super().__init__(folder)
        self.options += ("--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no")
        self.options += ("--tls-cert-file", str(chain), "--tls-key-file", str(chain))
        self.options += ("--tls-ca-cert-file", str(trusted))
        self.trusted = str(trusted)
        self.url = f"rediss://localhost:{self.port}/0"

    def client(self) -> Any:
        return redis.Redis.from_url(self.url, decode_responses=True, ssl_ca_certs=self.trusted)
