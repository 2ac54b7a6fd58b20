"""A small tmpfs that can be filled and made read-only. Other processes do not see it."""

import subprocess
from pathlib import Path

from faults.senders import Spool

SIZE = "64m"
_MOUNT = 'mount -t tmpfs -o size="$1" none "$0" && echo mounted && exec cat'
# Only the lack of space may end the write.
_FILL = '! cat /dev/zero > "$0"'


class SmallDisk:
    """Exists within a `with` block. Needs Linux, and the right to create user namespaces."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.place.mkdir()
        self._holder = subprocess.Popen(
            ["unshare", "--map-root-user", "--mount", "sh", "-c", _MOUNT, place, SIZE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "SmallDisk":
        assert self._holder.stdout
        if self._holder.stdout.readline() != "mounted\n":
            why = self._holder.communicate()[1].strip()
            raise AssertionError(f"no disk of its own: {why}; run as root, or allow namespaces")
        return self

    def __exit__(self, *_: object) -> None:
        # The helper reads until its input ends.
        self._holder.communicate()

    @property
    def enter(self) -> list[str]:
        """The start of a command that sees the disk."""
        target = ["--target", str(self._holder.pid)]
        return ["nsenter", *target, "--user", "--mount", "--preserve-credentials"]

    @property
    def spool(self) -> Spool:
        seen = Path(f"/proc/{self._holder.pid}/root{self.place}/spool")
        return Spool(self.place / "spool", seen, self.enter)

    def fill(self) -> None:
        self._run("sh", "-c", _FILL, str(self.place / "ballast"))

    def take(self, size: int) -> None:
        """Takes this many bytes of the disk."""
        self._run("fallocate", "--length", str(size), str(self.place / "ballast"))

    def free(self) -> None:
        self._run("rm", str(self.place / "ballast"))

    def forbid_writing(self) -> None:
        """Works only while no file is open for writing."""
        self._run("mount", "-o", "remount,ro", str(self.place))

    def allow_writing(self) -> None:
        self._run("mount", "-o", "remount,rw", str(self.place))

    def _run(self, *command: str) -> None:
        run = subprocess.run([*self.enter, *command], capture_output=True, text=True, check=False)
        assert run.returncode == 0, f"{' '.join(command)}: {run.stderr}"
