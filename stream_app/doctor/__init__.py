"""Checks of everything that a pipeline needs, each with what is wrong and how to mend it.

A check is a function in the file of its area that takes an `Examined` and yields findings; `checks.CHECKS` lists them.
"""
