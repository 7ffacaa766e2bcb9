"""Pictures as pure functions: data in, geometry out; templates draw them."""
