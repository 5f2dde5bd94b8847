"""Model management: the registry of versions, and decisions about them.

Looking: the `registry` is what `<pipeline>.models` says; `comparing` tells two versions apart; `learning` says how far
the learner is; `rendering` shows it all.

Deciding: `checking` loads a version and replays examples with it; `decisions` are written at the `desk`, each as one
transaction, with `acts` about them; `collecting` deletes artifacts that nothing names.
"""
