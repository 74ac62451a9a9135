"""Figures that one notebook draws."""
