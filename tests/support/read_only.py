"""A folder that nothing can be written to."""

import os
import shutil
import subprocess
from pathlib import Path

_MOUNT = 'mount -t tmpfs -o ro none "$0" && exec "$@"'


def read_only(folder: Path) -> list[str]:
    """The beginning of a command for which `folder` is on a read-only file system.

    Where that needs rights that nobody has, as in some containers, it is a folder that the
    command may not write to.
    """
    mount = ["unshare", "--map-root-user", "--mount", "sh", "-c", _MOUNT, str(folder)]
    if shutil.which("unshare"):
        tried = subprocess.run([*mount, "true"], capture_output=True, check=False)
        if tried.returncode == 0:
            return mount
    folder.chmod(0o500)
    # Root may write everywhere, unless it gives its capabilities up.
    return [] if os.getuid() else ["setpriv", "--inh-caps", "-all", "--bounding-set", "-all"]
