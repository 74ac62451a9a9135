"""The dual search: hypergradient, WSRAS and Algorithm 1."""
