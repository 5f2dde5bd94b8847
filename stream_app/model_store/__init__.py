"""Model versions: stored, signed, and loaded safely.

- `artifacts`: the artifact store, files named by their SHA-256.
- `manifest`: manifests, checkpoints and aliases.
- `model_registry`: versions, aliases, pins and decisions of a pipeline at one moment.
- `model_loading`: loading for scoring, and for further learning.
- `linear_folding`: linear models as one sum, which scores faster.
- `pickling`: pickles, the unpickler that restricts their names, and the families of models.
- `river_names`: tables of the names in artifacts of River's models.
- `key_files`: signing keys and their files.
- `trusted_keys`: public keys that verify signatures.
- `signing`: signatures of manifests and checkpoints.
"""
