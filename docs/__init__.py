"""Documentation; `python -m docs.generate` writes the reference from the code."""
