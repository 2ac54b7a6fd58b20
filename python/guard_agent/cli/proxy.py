"""The proxy that the agent takes, chosen by its HTTP client."""

from urllib.parse import SplitResult, urlsplit

from guard_agent import _native


def proxy_for(endpoint: str) -> SplitResult | None:
    """Returns the proxy for requests to `endpoint`, or None for the direct way.

    HTTPS_PROXY or HTTP_PROXY, else ALL_PROXY, unless NO_PROXY names the host; each in lower case
    first. What is no URL of a proxy counts as absent, and so do all of them in a CGI script.
    """
    proxy = _native.proxy_for(endpoint)
    return None if proxy is None else urlsplit(proxy)
