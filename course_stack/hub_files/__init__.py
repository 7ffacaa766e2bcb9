"""What runs inside a hub's own process, wherever the hub is.

A hub on a cluster gets these modules as files beside its configuration, so they import nothing of ours but each other.
"""
