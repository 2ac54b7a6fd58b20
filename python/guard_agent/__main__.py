"""`python -m guard_agent` is the command `guard-agent`."""

import sys

from guard_agent.cli import main

sys.exit(main())
