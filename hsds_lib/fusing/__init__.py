"""A trained network turns two photographs into one."""
