"""What a course needs of its target, in whole MiB and thousandths of a core. Pure functions of the spec.

Everything is counted in powers of two (1 GiB = 1024 MiB), as JupyterHub counts memory (`ByteSpecification`) and
Kubernetes its `Mi` and `Gi`: one unit for limits, quotas and disks keeps a quota from being smaller than its parts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from course_stack.spec import CourseSpec, Gpu, Resources

SPARE_SERVERS = 1
"""Room in the quota beside the active servers: for the notebook that proves that the hub works, and for one that is
still stopping while its owner starts the next."""

HUB_DATABASE_MIB = 1024
"""Disk of the hub's own database (Zero to JupyterHub 4.4, `hub.db.pvc.storage`)."""


@dataclass(frozen=True, slots=True)
class Compute:
    """Memory and processor time. Adds up, and multiplies with a number of notebooks."""

    memory_mib: int
    cpu_millicores: int

    def __add__(self, other: Compute) -> Compute:
        return Compute(self.memory_mib + other.memory_mib, self.cpu_millicores + other.cpu_millicores)

    def __mul__(self, times: int) -> Compute:
        return Compute(self.memory_mib * times, self.cpu_millicores * times)


@dataclass(frozen=True, slots=True)
class Size:
    """One thing that runs: `guarantee` is kept free for it (a Kubernetes request), `limit` is the most it can use."""

    guarantee: Compute
    limit: Compute

    def __add__(self, other: Size) -> Size:
        return Size(self.guarantee + other.guarantee, self.limit + other.limit)

    def __mul__(self, times: int) -> Size:
        return Size(self.guarantee * times, self.limit * times)


HUB = Size(guarantee=Compute(512, 250), limit=Compute(1536, 1000))
"""The hub of one course. A hub of 5.5 with its proxy measured 125 MB when idle; the limit is for many starting at once.
Hub and proxy together may use 2 GiB and 2 cores, which is what JHaaS adds to a course (`NS_RAM_STATIC`,
`NS_CPU_STATIC` in JHaaS-Portal-Backend, config/K8s.ts)."""

PROXY = Size(guarantee=Compute(128, 100), limit=Compute(512, 1000))
"""The proxy before the hub and the notebooks of one course."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a course takes of a target. `gpus` counts by kind (`nvidia.com/gpu`)."""

    compute: Size
    storage_mib: int
    gpus: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Quota:
    """Upper bounds for everything of one course together: never reached by what its hub may start."""

    compute: Size
    storage_mib: int
    gpus: dict[str, int]
    pods: int
    volumes: int


def mib(gib: float) -> int:
    """GiB in whole MiB, rounded up."""
    return _ceiling(gib * 1024)


def millicores(cores: float) -> int:
    """Cores in whole thousandths, rounded up."""
    return _ceiling(cores * 1000)


def notebook(resources: Resources) -> Size:
    """One notebook with these resources."""
    return Size(
        guarantee=Compute(mib(resources.memory_guarantee), millicores(resources.cpu_guarantee)),
        limit=Compute(mib(resources.memory_limit), millicores(resources.cpu_limit)),
    )


def largest_notebook(spec: CourseSpec) -> Size:
    """The most that one person can ask for: for each figure the highest of all choices.

    A course with profiles offers only these; a profile without resources of its own has the course's.
    """
    sizes = [notebook(profile.resources or spec.resources) for profile in spec.profiles] or [notebook(spec.resources)]
    return Size(
        guarantee=Compute(
            max(size.guarantee.memory_mib for size in sizes), max(size.guarantee.cpu_millicores for size in sizes)
        ),
        limit=Compute(max(size.limit.memory_mib for size in sizes), max(size.limit.cpu_millicores for size in sizes)),
    )


def homes_mib(spec: CourseSpec, former_people: int = 0) -> int:
    """(seats + leads + former people) * home size.

    `former_people` have left or were removed; their homes stay until they are archived.
    """
    return (spec.seats + len(spec.leads) + former_people) * mib(spec.home_size)


def shared_mib(spec: CourseSpec) -> int:
    """Sum of the shared volumes."""
    return sum(mib(volume.size) for volume in spec.shared_volumes)


def demand(spec: CourseSpec, former_people: int = 0) -> Demand:
    """What the target must have free for the course, with its hub and proxy.

    compute = active servers * largest notebook + hub + proxy; the guarantees are what must be free at once, the limits
    what it can come to. storage = homes + shared volumes + the hub's database. The form is JHaaS's (users * size +
    a fixed part for the hub, models/JupyterHubRequest.ts), counted from active servers instead of users.
    """
    return Demand(
        compute=largest_notebook(spec) * spec.active_servers + HUB + PROXY,
        storage_mib=homes_mib(spec, former_people) + shared_mib(spec) + HUB_DATABASE_MIB,
        gpus=_gpus(spec, spec.active_servers),
    )


def placeholders(spec: CourseSpec, percent: int) -> int:
    """How many pods keep room for the next notebooks while the course is used: so many per cent, rounded up."""
    return math.ceil(spec.active_servers * percent / 100)


def quota(spec: CourseSpec, former_people: int = 0, placeholders: int = 0) -> Quota:
    """Bounds that hold a course to its size and never refuse what its hub may start.

    As `demand`, with room for `SPARE_SERVERS` more notebooks with a home each; pods = notebooks + hub + proxy;
    volumes = homes + shared volumes + the hub's database. `placeholders` have room of their own: they make way for
    notebooks a moment after these were let in.
    """
    servers = spec.active_servers + SPARE_SERVERS
    needed = demand(spec, former_people)
    return Quota(
        compute=largest_notebook(spec) * (servers + placeholders) + HUB + PROXY,
        storage_mib=needed.storage_mib + SPARE_SERVERS * mib(spec.home_size),
        gpus=_gpus(spec, servers),
        pods=servers + placeholders + 2,
        volumes=spec.seats + len(spec.leads) + former_people + SPARE_SERVERS + len(spec.shared_volumes) + 1,
    )


def _gpus(spec: CourseSpec, servers: int) -> dict[str, int]:
    """For each kind of GPU: servers * the highest number that one notebook may have."""
    offered: list[Gpu] = [profile.gpu for profile in spec.profiles if profile.gpu]
    return {
        kind: servers * max(gpu.count for gpu in offered if gpu.resource == kind)
        for kind in sorted({gpu.resource for gpu in offered})
    }


def _ceiling(value: float) -> int:
    # 2.007 * 1000 is more than 2007 in binary fractions: what lies beyond the ninth place is such noise
    return math.ceil(round(value, 9))
