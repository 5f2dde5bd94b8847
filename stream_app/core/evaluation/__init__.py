"""Evaluation: served predictions are compared with their labels.

- `prediction_tasks`: binary classification, multiclass classification and regression.
- `classification_metrics`, `regression_metrics`: sums of metrics and baselines.
- `roc_auc`: area under the ROC curve.
- `evaluator`: prequential evaluation in windows of label time.
- `thresholds`: declared thresholds, their breaches and actions.
"""
