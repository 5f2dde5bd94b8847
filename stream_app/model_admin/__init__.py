"""Model management: looking at versions, and decisions about them.

Looking: `comparing` tells two versions apart; `learning` says how far the learner is; `verifying` makes a version again
by `replaying` the log, and asks `sameness`; `rendering` shows it all. What topics say is in `stream_app.model_store`: the
`registry`, and the `acts` that decisions leave.

Deciding: `checking` loads a version and replays examples with it; `decisions` are written at the `desk`, each as one
transaction; `keyring` acts on keys; `collecting` deletes artifacts that nothing names.
"""
