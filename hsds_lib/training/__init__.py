"""Training the network that a search found, with the loss it found."""
