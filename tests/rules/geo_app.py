"""The example app with a guard that looks countries up, in the database named by COUNTRIES."""

import os
from pathlib import Path

from guard import IPInfoManager
from main import app, config

# The database is there and new: nothing is downloaded with the token.
config.geo_ip_handler = IPInfoManager("token", Path(os.environ["COUNTRIES"]))
# The guard looks countries up only when it was made with some.
config.blocked_countries = frozenset({"AQ"})

__all__ = ["app"]
