"""Hybrid-Supervised Dual-Search for multi-exposure image fusion, as a small library behind a course."""

from __future__ import annotations

__version__ = "0.1.0"
