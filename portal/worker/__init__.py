"""Workers: they take due operations and carry them out."""
