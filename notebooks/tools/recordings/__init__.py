"""Scripts that record anew what the explorers show."""
