"""Determines the proxy that the agent's HTTP client uses."""

from urllib.parse import SplitResult, urlsplit

from guard_agent import _native


def proxy_for(endpoint: str) -> SplitResult | None:
    """Returns the proxy for requests to `endpoint`, or None for a direct connection.

    Uses HTTPS_PROXY or HTTP_PROXY, else ALL_PROXY, unless NO_PROXY lists the host. Lower-case names
    come first. A value that is not a proxy URL is ignored, and a CGI script ignores them all.
    """
    proxy = _native.proxy_for(endpoint)
    return None if proxy is None else urlsplit(proxy)
