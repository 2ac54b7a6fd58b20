"""A real Redis that listens on a port, as `redis_url` needs it, and what agents keep in it."""

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

# Every change is on disk before it is answered.
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
RECORDS = "guard_agent:{default}:records"


class RedisServer:
    """A redis-server on a free port of this machine, with its data in `folder`.

    Args:
        folder: What it writes is there.
        options: More of its command line's options; without any it keeps nothing on disk.
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
        """Sends the signal, if it runs, and waits for its end."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE_SECONDS)
            self.process = None

    def kill(self) -> None:
        """Ends it as a crash would."""
        self.stop(signal.SIGKILL)

    def freeze(self) -> None:
        """Stops it from answering, until `thaw`."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def client(self) -> Any:
        """A client beside the agents'."""
        return redis.Redis.from_url(self.url, decode_responses=True)

    def has_loaded(self) -> bool:
        """Whether it has read what it had written to disk."""
        with self.client() as client, suppress(redis.BusyLoadingError):
            return bool(client.ping())
        return False

    def waiting(self) -> int:
        """How many records wait."""
        with self.client() as client:
            return int(client.xlen(RECORDS))

    def keys(self, *kinds: str) -> set[str]:
        """The idempotency keys of the records of such kinds that wait."""
        with self.client() as client:
            fields = [fields for _, fields in client.xrange(RECORDS)]
        records = [json.loads(each[kind]) for each in fields for kind in kinds if kind in each]
        return {record["idempotency_key"] for record in records}

    def pending(self) -> dict[str, int]:
        """How many records wait for each process that has the stream."""
        with self.client() as client:
            found = client.xinfo_consumers(RECORDS, "agents")
        return {consumer["name"]: consumer["pending"] for consumer in found}

    def let_leases_lapse(self) -> None:
        """Ends the lease of every process, as half a minute without a sign of life would."""
        with self.client() as client:
            for lease in client.keys("guard_agent:{default}:lease:*"):
                client.delete(lease)


class TlsRedisServer(RedisServer):
    """A `RedisServer` that speaks nothing but TLS.

    Args:
        folder: What it writes is there.
        chain: A file with its key and its certificate, which is for localhost.
        trusted: The file with the certificate that vouches for it.
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
