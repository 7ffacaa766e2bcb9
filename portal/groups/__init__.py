"""Who is let in at a course's hub, kept in step: groups at the identity provider, and people at the hub itself.

The database says who belongs to a course; this package makes it so, and makes it so again after the provider or the
hub was down. Beside it the course stack writes the same two groups, with the people of its spec, when a hub is made or
updated. They do not fight:

- Until a course is active the groups are the stack's alone. Here nothing is made, so that nothing is left behind by a
  course that is never set up.
- From then on the members are set here, to exactly who may be in now; a group that is missing is made.
- An update that runs meanwhile may write the people of its beginning over ours. So nothing counts as applied while a
  deploy or an update may live: it is set once more when that has ended.
- In a course that is being removed groups are only emptied, never made; the stack deletes them.
- Afterwards the slug may be another course's: nothing is touched.
"""

from portal.groups.access import Access, access_of, people_due_at
from portal.groups.reconcile import reconcile_due

__all__ = ["Access", "access_of", "people_due_at", "reconcile_due"]
