"""The authors' published code, faults included, for comparison only: nothing else in the library imports it."""
