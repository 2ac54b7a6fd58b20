"""The example app with a guard that looks up countries in the database named by COUNTRIES."""

import os
from pathlib import Path

from guard import IPInfoManager
from main import app, config

# The database exists and is recent, so the token is not used for a download.
config.geo_ip_handler = IPInfoManager("token", Path(os.environ["COUNTRIES"]))
# The guard looks up countries only if it was created with some.
config.blocked_countries = frozenset({"AQ"})

__all__ = ["app"]
