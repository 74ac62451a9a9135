"""The network: operations, genotype, and one wiring for supernet and derived network."""
