"""Trying a pipeline on files: no broker, no settings, nothing written."""
