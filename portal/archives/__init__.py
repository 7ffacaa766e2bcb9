"""Copies of people's homes: read from storage, packed, kept at the object store, and read back before they count."""
