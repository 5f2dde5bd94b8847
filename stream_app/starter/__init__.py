"""Starter pipeline, which `stream-app init` writes.

Files:
    starter: writes the templates in `files/` into a folder.
"""
