"""All running courses at once: bringing them to what the program makes now."""
