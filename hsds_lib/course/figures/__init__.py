"""Figures that one notebook draws, as in :mod:`hsds_lib.course.plots`."""
