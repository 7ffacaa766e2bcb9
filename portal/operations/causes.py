"""Why an operation did not succeed, in a sentence for everybody, by the kind of its failure.

What the engine and the providers say is kept beside it, as they said it: in English, and for those who know them.
"""

from __future__ import annotations

from automation.failures import OperationFailed
from portal.texts import N_

UNFORESEEN, WORKER_LOST, SUPERSEDED = "Unforeseen", "WorkerLost", "Superseded"
"""Kinds beside the classes of failures."""

CAUSES: dict[str, str] = {
    "OperationFailed": N_("The work could not be done."),
    "StoreDown": N_("The store in which the state of hubs is kept does not answer."),
    "WrongCredentials": N_("The store in which the state of hubs is kept refuses the portal's access key."),
    "WrongPassphrase": N_("The passphrase with which the hub's state can be read is another one."),
    "CorruptState": N_("The stored state of the hub cannot be read."),
    "StackLocked": N_("Somebody else is at work on the hub."),
    "StackMissing": N_("There is no record of the hub."),
    "OnOtherTarget": N_("The hub is in another place than the one named."),
    "PortTaken": N_("A network port that the hub needs is taken."),
    "DiskFull": N_("There is no space left on a disk."),
    "IdentityProviderFailed": N_("The identity provider does not answer, or refuses."),
    "ObjectStoreFailed": N_("The store for files does not answer, or refuses."),
    "ClusterFailed": N_("The cluster does not answer, or refuses."),
    "StorageFailed": N_("The storage of the home directories does not answer, or refuses."),
    "HomesNotArchived": N_("Not every home directory could be copied."),
    "HubFailed": N_("The hub does not do what it should."),
    "ServerFailed": N_("A notebook server could not be started or stopped."),
    "NotebookFailed": N_("A notebook could not be run to its end."),
    "EngineUnusable": N_("The software that sets up hubs is missing, or is not complete."),
    "DeadlinePassed": N_("It took too long, and was stopped."),
    "Cancelled": N_("It was stopped."),
    "LeaseLost": N_("The worker lost its connection in the middle of the work."),
    "Died": N_("The work was ended from outside."),
    WORKER_LOST: N_("The worker has ended, or lost its connection, in the middle of the work."),
    UNFORESEEN: N_("Something went wrong that nobody foresaw."),
    SUPERSEDED: N_("Something else was asked for that goes before it."),
}
"""Kind → message id."""


def kind_of(failure: OperationFailed) -> str:
    """The nearest kind of a failure that has words."""
    return next(cls.__name__ for cls in type(failure).__mro__ if cls.__name__ in CAUSES)
