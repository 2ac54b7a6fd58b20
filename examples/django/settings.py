"""A small shop on Django behind djapi-guard, reporting to guard-server.

Start guard-server; then, with requirements.txt and fastapi-guard-agent installed, either of

    GUARD_AGENT_API_KEY=fg_... gunicorn --workers 2 --bind 127.0.0.1:8403 wsgi
    GUARD_AGENT_API_KEY=fg_... uvicorn --port 8403 --no-proxy-headers asgi:application

Settings come from the environment:

    GUARD_AGENT_API_KEY         the project's API key; required
    GUARD_AGENT_ENDPOINT        the backend, default http://127.0.0.1:8400
    GUARD_AGENT_FLUSH_INTERVAL  seconds a lone record may wait, default 30
    DJANGO_SECRET_KEY           as for any Django project; default a new one at each start
"""

import os

from django.core.management.utils import get_random_secret_key
from guard_core import SecurityConfig

SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY") or get_random_secret_key()
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
TIME_ZONE = "UTC"
ROOT_URLCONF = "urls"
MIDDLEWARE = ["djangoapi_guard.DjangoAPIGuard"]

GUARD_SECURITY_CONFIG = SecurityConfig(
    enable_agent=True,
    agent_api_key=os.environ["GUARD_AGENT_API_KEY"],
    agent_endpoint=os.environ.get("GUARD_AGENT_ENDPOINT", "http://127.0.0.1:8400"),
    agent_flush_interval=int(os.environ.get("GUARD_AGENT_FLUSH_INTERVAL", "30")),
    # Rules that are set on the server apply at once.
    enable_dynamic_rules=True,
    dynamic_rule_interval=60,
    enable_redis=False,
    # The client's address comes from X-Forwarded-For, set by a proxy on this machine.
    trusted_proxies=("127.0.0.1",),
    blocked_user_agents=["sqlmap", "nikto", "masscan"],
    blacklist=("192.0.2.66",),
    auto_ban_threshold=5,
    auto_ban_duration=300,
    rate_limit=120,
    rate_limit_window=60,
    endpoint_rate_limits={"/login": (3, 60)},
)
