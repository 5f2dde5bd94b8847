"""deploy/kubernetes as objects, and what their pods mount and run."""

import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.compose import DEPLOY
from tests.docs.documents import Document

FOLDER = DEPLOY / "kubernetes"
PAGE = DEPLOY.parent / "docs" / "kubernetes.md"
BLOCKS = [block.text for block in Document(PAGE).blocks]

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pod:
    """Pod template of a workload.

    Attributes:
        owner: the StatefulSet or Job.
        spec: spec of the pod.
    """

    owner: Manifest
    spec: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the workload."""
        return str(self.owner["metadata"]["name"])

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the pods."""
        return dict(self.owner["spec"]["template"]["metadata"]["labels"])

    @property
    def container(self) -> dict[str, Any]:
        """The only container."""
        (found,) = self.spec["containers"]
        return dict(found)

    @property
    def mounts(self) -> dict[str, dict[str, Any]]:
        """Mount of each path."""
        return {mount["mountPath"]: mount for mount in self.container["volumeMounts"]}

    @property
    def volumes(self) -> dict[str, dict[str, Any]]:
        """Source of each volume."""
        return {volume["name"]: volume for volume in self.spec["volumes"]}

    def mount_of(self, path: str) -> dict[str, Any]:
        """Return the mount that holds a path."""
        return next(
            self.mounts[str(parent)]
            for parent in (Path(path), *Path(path).parents)
            if str(parent) in self.mounts
        )

    def environment(self) -> dict[str, str]:
        """Return the variables of the container."""
        found: dict[str, str] = {}
        for source in self.container.get("envFrom", ()):
            (settings,) = by_kind("ConfigMap", source["configMapRef"]["name"])
            found |= settings["data"]
        return found | {one["name"]: one["value"] for one in self.container.get("env", ())}


@cache
def manifests() -> list[tuple[str, Manifest]]:
    """Return file name and content of every object."""
    return [
        (file.name, one)
        for file in sorted(FOLDER.glob("*.yaml"))
        for one in yaml.safe_load_all(file.read_text())
    ]


def by_kind(kind: str, name: str = "") -> list[Manifest]:
    """Return the objects of a kind, and of a name if one is given."""
    return [
        one
        for _, one in manifests()
        if one["kind"] == kind and name in ("", one["metadata"]["name"])
    ]


def pods() -> list[Pod]:
    """Return the pods of all workloads."""
    return [
        Pod(one, one["spec"]["template"]["spec"])
        for kind in ("StatefulSet", "Job")
        for one in by_kind(kind)
    ]


def projected(folder: Path, files: dict[str, bytes]) -> Path:
    """Write a folder as the kubelet does: links to the files of a version."""
    folder.mkdir(parents=True, exist_ok=True)
    version = folder / f"..{len(list(folder.iterdir()))}"
    version.mkdir()
    for name, content in files.items():
        (version / name).write_bytes(content)
    (folder / "..new").symlink_to(version.name)
    (folder / "..new").replace(folder / "..data")
    for name in files:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    return folder


def make_keys(folder: Path) -> None:
    """Run the commands of the page that make the keys, in a folder."""
    (commands,) = [block for block in BLOCKS if "mkdir trusted" in block]
    subprocess.run(["sh", "-ec", commands], cwd=folder, check=True)
