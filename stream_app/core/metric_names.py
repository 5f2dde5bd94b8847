"""The names of the metrics that a pipeline may ask for."""

METRIC_NAMES = (
    "log_loss",
    "roc_auc",
    "accuracy",
    "precision",
    "recall",
    "f1",
    "brier",
    "kappa",
    "kappa_temporal",
)
