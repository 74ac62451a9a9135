"""Data by script: what can be fetched, from where, and proof that it is what it should be; ``hsds data`` runs it."""
