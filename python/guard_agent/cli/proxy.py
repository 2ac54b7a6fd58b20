"""The proxy that the agent takes, chosen as its HTTP client chooses."""

import ipaddress
import os
from urllib.parse import SplitResult, urlsplit

_SCHEMES = frozenset({"http", "https", "socks4", "socks4a", "socks5", "socks5h"})


def proxy_for(scheme: str, host: str) -> SplitResult | None:
    """Returns the proxy for such requests to `host`, or None for the direct way.

    HTTPS_PROXY or HTTP_PROXY, else ALL_PROXY, unless NO_PROXY names the host. What is no URL of a
    proxy counts as absent, and so do all of them in a CGI script.
    """
    if "REQUEST_METHOD" in os.environ or _is_excepted(host):
        return None
    return _parse(_variable(f"{scheme}_proxy")) or _parse(_variable("all_proxy"))


def _variable(name: str) -> str:
    return os.environ.get(name.upper(), os.environ.get(name, ""))


def _parse(text: str) -> SplitResult | None:
    try:
        proxy = urlsplit(text if "://" in text else f"http://{text}")
        is_usable = proxy.scheme in _SCHEMES and proxy.hostname and proxy.port != 0
    except ValueError:
        return None
    return proxy if is_usable else None


def _is_excepted(host: str) -> bool:
    exceptions = [part.strip() for part in _variable("no_proxy").split(",")]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return any(_covers_name(part.lower(), host) for part in exceptions if part)
    return any(_covers_address(part, address) for part in exceptions)


def _covers_name(domain: str, host: str) -> bool:
    return domain == "*" or f".{host}".endswith(f".{domain.removeprefix('.')}")


def _covers_address(network: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
