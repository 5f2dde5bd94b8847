"""Writes the software bill of materials of the image: CycloneDX 1.5, as JSON, on standard output.

Runs in the Python of the image. It lists the installed Python packages, the interpreter, and the
packages of the operating system. The same image gives the same bytes.
"""

import json
import platform
import re
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, distributions
from typing import Any
from urllib.parse import quote

_APPLICATION = "stream-app"
_DPKG = ["dpkg-query", "--show", "--showformat", "${Package} ${Version} ${Architecture}\n"]


def bill_of_materials() -> dict[str, Any]:
    """Return the bill of materials of the running Python and its operating system."""
    packages = {_name(found): found for found in distributions()}
    application = packages.pop(_APPLICATION)
    system = platform.freedesktop_os_release()
    components = [
        _component("operating-system", system["ID"], system["VERSION_ID"]),
        _component("platform", "python", platform.python_version(), "pkg:generic/python"),
        *(_library(packages[name]) for name in sorted(packages)),
        *_debian_packages(system["ID"]),
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {**_library(application), "type": "application"}},
        "components": components,
    }


def _library(package: Distribution) -> dict[str, Any]:
    name = _name(package)
    component = _component("library", name, package.version, f"pkg:pypi/{name}")
    licence = _licence(package)
    return {**component, **({"licenses": [licence]} if licence else {})}


def _name(package: Distribution) -> str:
    return re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower()


def _licence(package: Distribution) -> dict[str, Any] | None:
    """Return the licence that a package states: an SPDX expression, or a name."""
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return {"expression": expression}
    names = [
        classifier.rpartition(" :: ")[2]
        for classifier in metadata.get_all("Classifier", [])
        if classifier.startswith("License :: ")
    ]
    # Some packages put the whole text there.
    text = metadata.get("License", "").strip().partition("\n")[0]
    name = ", ".join(names) or text
    return {"license": {"name": name}} if name else None


def _debian_packages(distribution: str) -> list[dict[str, Any]]:
    if not shutil.which(_DPKG[0]):
        return []
    listed = subprocess.run(_DPKG, check=True, capture_output=True, text=True).stdout
    return [
        _component("library", name, version, f"pkg:deb/{distribution}/{name}", f"?arch={kind}")
        for name, version, kind in sorted(line.split() for line in listed.splitlines())
    ]


def _component(
    kind: str, name: str, version: str, purl: str = "", qualifiers: str = ""
) -> dict[str, Any]:
    component = {"type": kind, "name": name, "version": version}
    if not purl:
        return component
    identity = f"{purl}@{quote(version, safe='')}{qualifiers}"
    return {**component, "bom-ref": identity, "purl": identity}


if __name__ == "__main__":
    json.dump(bill_of_materials(), sys.stdout, indent=1)
