"""The embedded Pulumi engine: what the Automation API needs of the `pulumi` CLI, in process.

It exists so that tests, demonstrations and sites without the CLI take the production path: programs, Automation API
and providers are the real ones, and the state is the CLI's own, so that either can take over a stack from the other.
It is no fork of Pulumi and claims no feature that this project does not use; what it does not do, it refuses by name.
"""

from automation.embedded.command import EmbeddedPulumi

__all__ = ["EmbeddedPulumi"]
