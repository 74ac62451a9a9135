"""Executed reports: papermill to self-contained HTML."""
