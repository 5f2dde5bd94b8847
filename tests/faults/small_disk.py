"""A disk that can be filled: a file system of its own, of few megabytes, in memory."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BLOCK = 64 * 1024  # bytes


class SmallDisk:
    """A mounted file system; `fill` leaves not one byte, `free` gives back what was filled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Write until nothing more fits."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (_BLOCK, 1):
                try:
                    while True:
                        ballast.write(bytes(size))
                except OSError:
                    pass

    def free(self) -> None:
        """Take away what was written."""
        self._ballast.unlink()


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mount it at `folder`, which is created. Only root may mount, as in a container."""
    assert os.geteuid() == 0, (
        "mounting needs root: run `unshare --map-root-user --mount make faults`"
    )
    folder.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder], check=True
    )
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
