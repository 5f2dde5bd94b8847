"""The rules of the code itself: words, names, layers."""
