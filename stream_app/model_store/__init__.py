"""Model versions: stored, signed, and loaded safely.

- `artifacts`: the artifact store, files named by their SHA-256.
- `manifest`: manifests, checkpoints and aliases.
- `annotations`: pins, the pause of learning, and audit entries of decisions.
- `model_registry`: versions and aliases of a pipeline at one moment.
- `model_loading`: loading for scoring and for further learning.
- `folded`: faster scoring of frozen linear models.
- `pickling`: pickles, and the unpickler that restricts their names.
- `families`: families of models, and the models that are rejected.
- `river_names`: tables of the names in artifacts of River's models.
- `key_files`: signing keys and their files.
- `trusted_keys`: public keys that verify signatures.
- `signing`: signatures of manifests and checkpoints.
"""
