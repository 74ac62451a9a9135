"""What the notebooks show: plots and the notebook builder."""
