"""Losses: the 19 candidates of Table 1, their weights, and the contrast of Eq. 3."""
