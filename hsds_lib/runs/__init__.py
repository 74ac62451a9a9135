"""What every long run needs: its scenes, checkpoints, log, progress, and several processes."""
