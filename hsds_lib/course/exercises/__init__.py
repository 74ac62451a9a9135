"""The exercises, a module per notebook; each has its answer, a first hint, and the mistakes people make."""
