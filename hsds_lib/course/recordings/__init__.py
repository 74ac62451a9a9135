"""What was recorded for the explorers, and the scripts that record it anew."""
