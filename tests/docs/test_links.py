"""Every relative link of the documents has an existing target and heading."""

from pathlib import Path

import pytest

from tests.docs.documents import DOCUMENTS, Document
from tests.running_system import ROOT


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_have_existing_targets(document: Document) -> None:
    known = {other.path: other for other in DOCUMENTS}
    for link in document.links:
        path, _, heading = link.partition("#")
        target = (document.path.parent / path).resolve() if path else document.path
        assert target.exists(), f"{document}: {link}"
        if heading:
            assert heading in known[target].anchors, f"{document}: {link}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_headings_have_one_anchor_each(document: Document) -> None:
    assert len(document.anchors) == len(document.headings)


def test_every_page_can_be_reached_from_the_readme() -> None:
    known = {document.path: document for document in DOCUMENTS}
    reached: set[Path] = set()
    pending = [DOCUMENTS[0].path]
    while pending:
        path = pending.pop()
        reached.add(path)
        targets = {(path.parent / link.partition("#")[0]).resolve() for link in known[path].links}
        pending += [target for target in targets if target in known and target not in reached]
    assert {path for path in known.keys() - reached if ROOT / "docs" in path.parents} == set()
