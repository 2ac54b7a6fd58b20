"""A folder that cannot be written to."""

import os
import shutil
import subprocess
from pathlib import Path

_MOUNT = 'mount -t tmpfs -o ro none "$0" && exec "$@"'


def read_only(folder: Path) -> list[str]:
    """The start of a command for which `folder` is on a read-only file system.

    If that needs missing rights, as in some containers, the command just has no permission
    to write to the folder.
    """
    mount = ["unshare", "--map-root-user", "--mount", "sh", "-c", _MOUNT, str(folder)]
    if shutil.which("unshare"):
        tried = subprocess.run([*mount, "true"], capture_output=True, check=False)
        if tried.returncode == 0:
            return mount
    folder.chmod(0o500)
    # Root may write everywhere unless it drops its capabilities.
    return [] if os.getuid() else ["setpriv", "--inh-caps", "-all", "--bounding-set", "-all"]
