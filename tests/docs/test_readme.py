"""The README's pipeline loads beside the files that `stream-app init` writes."""

from pathlib import Path

from stream_app.loading import load_pipeline
from stream_app.starter.starter import write_starter
from tests.docs.documents import DOCUMENTS

README = DOCUMENTS[0]


def test_the_pipeline_of_the_readme_loads(tmp_path: Path) -> None:
    write_starter("payments", tmp_path)
    (text,) = (block.text for block in README.blocks if block.language == "python")
    (tmp_path / "readme.py").write_text(text)
    pipeline = load_pipeline(str(tmp_path / "readme.py"))
    assert pipeline.features({"amount": 10.0, "country": "NL", "card_age_days": None})
