"""People: how they sign in at the identity provider, their sessions here, and their roles."""
