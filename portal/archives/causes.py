"""Why a home has no archive, in a sentence for everybody, by the kind of what went wrong.

As with operations (`portal.operations.causes`), what the storage or the store said is kept beside it.
"""

from __future__ import annotations

from portal.operations import causes
from portal.texts import N_

INTERRUPTED = "Interrupted"
"""The kind of a try whose worker ended, or was stopped, before it could say how it went."""

CAUSES: dict[str, str] = {
    "HomeUnreadable": N_("Something in the home cannot be read."),
    "HomeGone": N_("The home is no longer in the storage."),
    "HomeInUse": N_("A notebook server still has the home open."),
    "CopyingEnded": N_("The copying did not begin, or ended too early."),
    "ArchiveDamaged": N_("The copy was damaged when it was read back."),
    INTERRUPTED: N_("The copying was interrupted."),
    **{kind: causes.CAUSES[kind] for kind in ("ObjectStoreFailed", "StorageFailed")},
}
"""Kind → message id. Kinds are the classes of `portal.archives.copy.Failure`, and failures of all homes at once."""
