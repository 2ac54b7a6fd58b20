"""Makes `python -m guard_agent` run the command `guard-agent`."""

import sys

from guard_agent.cli import main

sys.exit(main())
