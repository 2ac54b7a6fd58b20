"""The shop of the examples, on FastAPI behind the pure ASGI middleware."""

from fastapi_shop import make_app
from guard import PureASGISecurityMiddleware

app = make_app(PureASGISecurityMiddleware)
