"""Figures and predictions of others: published rows, verdicts on them, prediction files, rules of scoring."""
