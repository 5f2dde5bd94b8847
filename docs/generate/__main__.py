"""Write the reference; say which pages have changed."""

import sys

from docs.generate import generate


def main() -> None:
    """Write every page whose text is another than before."""
    for file, text in generate().items():
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
            sys.stderr.write(f"written: {file}\n")


if __name__ == "__main__":
    main()
