"""Checks the backend step by step: name resolution, connection, TLS, responses."""

import base64
import http.client
import ipaddress
import json
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from guard_agent import __version__
from guard_agent.cli.finding import Finding, fail
from guard_agent.cli.proxy import proxy_for
from guard_agent.config import AgentConfig

_MOST_SECONDS = 10
_MOST_BYTES = 1 << 20

_PROXY_VARIABLES = "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY or NO_PROXY"

# OpenSSL's codes for the reasons why a certificate is not trusted.
_EXPIRED = 10
_WRONG_HOST = 62
_UNKNOWN_ISSUER = frozenset({18, 19, 20, 21})


class BackendError(Exception):
    """The backend cannot be reached.

    Attributes:
        finding: The failed step and the remedy.
    """

    def __init__(self, what: str, text: str, remedy: str) -> None:
        """Creates the finding."""
        super().__init__(text)
        self.finding: Finding = fail(what, text, remedy)


@dataclass(frozen=True)
class Answer:
    """A response of the backend.

    Attributes:
        status: The status.
        headers: The headers.
        body: The JSON object in the body, or None if the body is anything else.
        asked_at: Seconds since the epoch, by the local clock, halfway between request
            and response.
    """

    status: int
    headers: http.client.HTTPMessage
    body: dict[str, Any] | None
    asked_at: float


class Backend:
    """Connects as the agent does: through the environment's proxy, without following redirects.

    Args:
        config: Gives the backend's URL and the key.
        install_id: The installation to ask for.
    """

    def __init__(self, config: AgentConfig, install_id: str | None = None) -> None:
        """Does not connect yet."""
        endpoint = urlsplit(config.endpoint)
        self.is_encrypted = endpoint.scheme == "https"
        self.host = endpoint.hostname or ""
        self.port = endpoint.port or (443 if self.is_encrypted else 80)
        self._path = endpoint.path
        self._proxy = proxy_for(config.endpoint)
        self._seconds = min(config.timeout, _MOST_SECONDS)
        self._headers = {
            "Authorization": f"Bearer {config.api_key}",
            "X-API-Key": config.api_key,
            "User-Agent": f"fastapi-guard-agent/{__version__}",
        }
        if config.project_id:
            self._headers["X-Project-ID"] = config.project_id
        if install_id:
            self._headers["X-Agent-Install-Id"] = install_id

    @property
    def target(self) -> str:
        """The host that connections go to, without credentials: the backend or a proxy."""
        return _address(self.host, self.port) + self._detour

    def is_local(self, addresses: list[str]) -> bool:
        """Returns whether traffic to `addresses`, from `resolve`, stays on this machine."""
        return self._proxy is None and all(map(_is_loopback, addresses))

    def resolve(self) -> list[str]:
        """Returns the addresses of the host that connections go to.

        Raises:
            BackendError: The name does not resolve, or the proxy is not usable.
        """
        self._check_proxy()
        host = self.host if self._proxy is None else self._proxy.hostname
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            remedy = "correct endpoint, or this machine's name servers"
            if self._proxy is not None:
                remedy = f"correct {_PROXY_VARIABLES}"
            raise BackendError("dns", f"{host} is unknown: {_reason(error)}", remedy) from None
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    def connect(self) -> http.client.HTTPConnection:
        """Returns an open connection, after the TLS handshake if TLS is used.

        Raises:
            BackendError: The connection failed, or the certificate is not trusted.
        """
        connection = self._connection()
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            why = f"{error.verify_message}{self._detour}"
            raise BackendError("tls", why, self._remedy(error)) from None
        except ssl.SSLError as error:
            why = f"no TLS{self._detour}: {_reason(error)}"
            remedy = "check that the port is the one for https, or use http in endpoint"
            raise BackendError("tls", why, remedy) from None
        except OSError as error:
            why = f"{self.target}: {_reason(error)}"
            remedy = "start the backend, correct host and port of endpoint, or open the firewall"
            if self._proxy is not None:
                remedy = f"start the proxy, let it through to there, or correct {_PROXY_VARIABLES}"
            raise BackendError("connection", why, remedy) from None
        return connection

    def get(self, path: str, connection: http.client.HTTPConnection | None = None) -> Answer:
        """Requests `path`, such as "/api/v1/rules".

        Raises:
            BackendError: There is no HTTP response.
        """
        if connection is None:
            self.resolve()
            connection = self.connect()
        url = self._path + path
        if self._proxy is not None and not self.is_encrypted:
            url = f"http://{_address(self.host, self.port)}{url}"
        started = time.time()
        try:
            connection.request("GET", url, headers=self._headers | self._proxy_login())
            response = connection.getresponse()
            asked_at = (started + time.time()) / 2
            return Answer(response.status, response.headers, self._json(response), asked_at)
        except (OSError, http.client.HTTPException) as error:
            remedy = "check that a Guard backend listens there, and the scheme of endpoint"
            why = f"no answer in HTTP{self._detour}: {_reason(error)}"
            raise BackendError("answer", why, remedy) from None
        finally:
            connection.close()

    def _json(self, response: http.client.HTTPResponse) -> dict[str, Any] | None:
        """Returns the JSON object in the body with the key removed, because it may be printed."""
        key = self._headers["X-API-Key"].encode()
        try:
            body = json.loads(response.read(_MOST_BYTES).replace(key, b"[REDACTED]"))
        except ValueError:
            return None
        return body if isinstance(body, dict) else None

    @property
    def _detour(self) -> str:
        if self._proxy is None:
            return ""
        return f" by the proxy {_address(self._proxy.hostname, self._proxy.port or 80)}"

    def _check_proxy(self) -> None:
        if self._proxy is None or self._proxy.scheme == "http":
            return
        scheme = self._proxy.scheme
        why = f"{self.target}: the agent supports no proxy by {scheme}"
        remedy = f"name one by http in {_PROXY_VARIABLES}"
        if scheme == "https":
            why = f"{self.target}: not checked, since the proxy is one by https"
            remedy = "try it by guard-agent send-test-event"
        raise BackendError("connection", why, remedy)

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self.host, self.port
        if self._proxy is not None:
            host, port = self._proxy.hostname or "", self._proxy.port or 80
        if not self.is_encrypted:
            return http.client.HTTPConnection(host, port, timeout=self._seconds)
        context = ssl.create_default_context()
        # The agent checks a certificate's form less strictly than newer Python versions do.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        connection = http.client.HTTPSConnection(host, port, timeout=self._seconds, context=context)
        if self._proxy is not None:
            connection.set_tunnel(self.host, self.port, self._proxy_login())
        return connection

    def _proxy_login(self) -> dict[str, str]:
        if self._proxy is None or self._proxy.username is None:
            return {}
        login = f"{unquote(self._proxy.username)}:{unquote(self._proxy.password or '')}"
        return {"Proxy-Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}

    def _remedy(self, error: ssl.SSLCertVerificationError) -> str:
        if error.verify_code == _EXPIRED:
            return "renew the backend's certificate, or set this machine's clock"
        if error.verify_code == _WRONG_HOST:
            return "set endpoint to a name that the certificate is for"
        if error.verify_code in _UNKNOWN_ISSUER:
            return "set SSL_CERT_FILE to the certificate of its authority"
        return "correct the backend's certificate"


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _address(host: str | None, port: int) -> str:
    return f"[{host}]:{port}" if host and ":" in host else f"{host}:{port}"


def _reason(error: Exception) -> str:
    """Returns the error's text without its number."""
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
