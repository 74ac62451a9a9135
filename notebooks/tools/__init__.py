"""What makes the notebooks: built, indexed, recorded, handed out."""
