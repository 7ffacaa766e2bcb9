"""Hubs on a Kubernetes cluster: Zero to JupyterHub in a namespace for each course."""
