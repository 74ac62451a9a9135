"""Images: files, colour, exposure simulation, and the scenes a search or a training reads."""
