"""Model versions: artifacts, manifests and safe loading."""
