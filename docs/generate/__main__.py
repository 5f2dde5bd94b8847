"""Writes the reference and prints the changed pages."""

import sys

from docs.generate import generate


def main() -> None:
    """Writes every page whose text has changed."""
    for file, text in generate().items():
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
            sys.stderr.write(f"written: {file}\n")


if __name__ == "__main__":
    main()
