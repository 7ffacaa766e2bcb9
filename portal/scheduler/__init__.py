"""The scheduler: one loop that compares what should be with what is, and asks for what is missing."""
