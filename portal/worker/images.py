"""A course's images are brought to the nodes of its cluster: when it was set up, days before its first, and before a
change lets notebooks start with new ones."""

from __future__ import annotations

from automation.events import Progress, Warned
from portal.texts import N_
from portal.worker.run import Run


def fetch_images(run: Run) -> None:
    """Bring the images there, and tell how far it is. Where that fails the course goes on: the first people wait."""
    target = run.target.cluster
    if target is None:
        return
    from course_stack.kubernetes.api import ClusterError, connect
    from course_stack.kubernetes.prepull import fetch

    run.step(N_("Bringing the images to the nodes of the cluster"))
    try:
        with connect(run.target) as cluster:
            for one in fetch(cluster, target, run.spec, run.check):
                run.tell(Progress(one.done, one.total))
                if one.trouble:
                    run.tell(Warned(f"The images are not on node {one.node}: {one.trouble}"))
    except ClusterError as error:
        run.tell(Warned(f"The images could not be brought to the nodes: {error}"))
