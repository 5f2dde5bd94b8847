"""Small in-memory file system that tests fill up."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BLOCK_BYTES = 64 * 1024


class SmallDisk:
    """Mounted file system; `fill` uses every byte, `free` releases them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Writes until the disk is full."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (_BLOCK_BYTES, 1):
                try:
                    while True:
                        ballast.write(bytes(size))
                except OSError:
                    pass

    def free(self) -> None:
        """Deletes the written file."""
        self._ballast.unlink()


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mounts a file system at a new folder. Mounting requires root."""
    assert os.geteuid() == 0, (
        "mounting requires root: run `unshare --map-root-user --mount make faults`"
    )
    folder.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder], check=True
    )
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
