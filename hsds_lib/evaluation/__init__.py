"""Evaluation: baselines and scores."""
