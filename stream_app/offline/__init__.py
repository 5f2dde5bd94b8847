"""From the laboratory and back: models trained from files, and examples of the log as files.

Training: a `training` runs a pipeline over files and measures, with a `profile` of what the model saw; `publishing`
makes a version of it. Exporting: `exporting` reads the log, `columns` finds out what is in it, `sheets` writes it.
"""
