"""Answers in words: what they claim, and the place that they mean."""
