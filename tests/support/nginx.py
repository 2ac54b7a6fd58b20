"""nginx in front of a server, over HTTPS."""

import os
import socket
import subprocess
from pathlib import Path

from support.process import PATIENCE_SECONDS, eventually, free_port

_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class Nginx:
    """Listens on a free port of this machine, with a certificate for `localhost`."""

    def __init__(self, folder: Path, certificate: Path) -> None:
        self.folder = folder
        self.certificate = certificate
        self.port = free_port()
        self.url = f"https://localhost:{self.port}"
        self.child: subprocess.Popen[bytes] | None = None

    def start(self, location: str) -> None:
        """`location` is a block as an operator writes it. It replaces the one before."""
        self.stop()
        configuration = self.folder / "nginx.conf"
        configuration.write_text(self._configuration(location))
        files = ["-c", str(configuration), "-e", "stderr", "-p", str(self.folder)]
        self.child = subprocess.Popen(["/usr/sbin/nginx", *files])
        eventually(self._listens)

    def stop(self) -> None:
        if self.child:
            self.child.terminate()
            self.child.wait(PATIENCE_SECONDS)

    def _listens(self) -> bool:
        assert self.child
        assert self.child.poll() is None
        with socket.create_connection(("127.0.0.1", self.port)):
            return True

    def _configuration(self, location: str) -> str:
        paths = " ".join(f"{name}_temp_path {self.folder}/{name};" for name in _TEMPORARY)
        return f"""
daemon off;
master_process off;
pid {self.folder}/nginx.pid;
{"user root;" if os.getuid() == 0 else ""}
events {{}}
http {{
    access_log off;
    {paths}
    server {{
        listen 127.0.0.1:{self.port} ssl;
        ssl_certificate {self.certificate};
        ssl_certificate_key {self.certificate};
        {location}
    }}
}}
"""
