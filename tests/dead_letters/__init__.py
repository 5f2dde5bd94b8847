"""Dead letters: index, selection, reading, trying."""
