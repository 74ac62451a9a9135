"""Fetch, verify and prepare data sets; `hsds data` and the scripts here do the same."""
