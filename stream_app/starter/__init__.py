"""Starter pipeline of `stream-app init`.

    starter: writes it into a folder.
    files: its templates, with NAME in place of the pipeline's name.
"""
