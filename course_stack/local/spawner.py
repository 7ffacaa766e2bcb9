"""Starts one person's notebook server on this machine: home, account, limits, view."""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jupyterhub.spawner import LocalProcessSpawner
from jupyterhub.utils import random_port
from tornado import web
from traitlets import Instance, Unicode

from course_stack.local.accounts import AccountBook
from course_stack.local.homes import HomeOwner, ensure_home, link_shared_volumes, safe_name
from course_stack.local.isolation import SANDBOX, Isolation, python_folders
from course_stack.local.layout import Layout
from course_stack.local.processes import COURSE_MARK, HOME_MARK, end, marked, start_time
from course_stack.local.profiles import FIELD, UnknownProfileError, chosen, options_form, resources_of
from course_stack.local.sandbox import Limits, Plan, Volume
from course_stack.spec import CourseSpec
from course_stack.startup import wrapped

SETTINGS = Path(__file__).resolve().parents[1] / "jupyter"
"""Settings that every notebook begins with: nobody is asked about news and new versions of JupyterLab."""
HOME_PATH = "/home/jovyan"
"""Where a notebook with a private view finds its home: as in Jupyter's container images."""
MAX_PROCESSES = 2000
"""Processes and threads of one person in one course; a kernel with numerical libraries has some dozens."""
MAX_FILES = 8192
SERVER_LOG = ".jhaas/server.log"
GIB = 2**30


class ServerEndedError(Exception):
    """A server ended while it was started."""

    def __init__(self, code: int) -> None:
        super().__init__(f"The notebook server ended while it was started (exit code {code}).")
        # what JupyterHub shows to the person
        self.jupyterhub_message = f"{self} What it said is in the file {SERVER_LOG} in your home folder."


class CourseSpawner(LocalProcessSpawner):  # type: ignore[misc] # JupyterHub has no types
    """A server as a process of this machine, started by `sandbox`, that outlives the hub and is found again."""

    spec = Instance(CourseSpec, config=True, help="The course.")
    data_folder = Unicode(config=True, help="Data folder of this machine.")
    issuer = Unicode(config=True, help="The identity provider that the hub's user names come from.")
    isolation = Instance(Isolation, config=True, help="What keeps notebooks apart here.")

    port: int
    _started = 0

    @property
    def layout(self) -> Layout:
        """Where everything of this machine lives."""
        return Layout(Path(self.data_folder))

    # --- what was chosen

    def _options_form_default(self) -> str:
        return options_form(self.spec)

    def options_from_form(self, formdata: dict[str, list[str]]) -> dict[str, Any]:
        """The profile's key, as the API takes it too."""
        return {FIELD: formdata[FIELD][0]} if formdata.get(FIELD) else {}

    # --- start, and being found again

    async def start(self) -> tuple[str, int]:
        """Start the server; address and port on which it will listen. An unknown profile is the caller's mistake."""
        try:
            profile = chosen(self.spec, self.user_options)
        except UnknownProfileError as error:
            raise web.HTTPError(400, str(error)) from None
        resources = resources_of(self.spec, profile)
        self.mem_limit, self.mem_guarantee = int(resources.memory_limit * GIB), int(resources.memory_guarantee * GIB)
        self.cpu_limit, self.cpu_guarantee = resources.cpu_limit, resources.cpu_guarantee
        self.port = self.port or random_port()
        # files and locks: short, but not for the loop that serves everybody
        plan = await asyncio.to_thread(self._plan, self.get_env(), [*self.cmd, *self.get_args()])
        # a hub that was killed while it started a server does not know of it
        await asyncio.to_thread(lambda: end(marked(HOME_MARK, plan.home.source)))
        self.proc = await asyncio.to_thread(self._launch, plan)
        self.pid = self.proc.pid
        self._started = start_time(self.pid) or 0
        await self._until_it_listens()
        return ("127.0.0.1", self.port)

    async def _until_it_listens(self) -> None:
        """JupyterHub itself would wait a minute for a server that ended at once."""
        while True:
            if (code := await self.poll()) is not None:
                raise ServerEndedError(code)
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return

    def _launch(self, plan: Plan) -> subprocess.Popen[bytes]:
        launcher = subprocess.Popen(
            [sys.executable, "-I", "-S", str(SANDBOX)],
            stdin=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
            env={COURSE_MARK: str(self.layout.hub(self.spec.slug)), HOME_MARK: plan.home.source},
        )
        assert launcher.stdin is not None
        with launcher.stdin:
            launcher.stdin.write(json.dumps(asdict(plan)).encode())
        return launcher

    def _plan(self, environment: dict[str, str], command: list[str]) -> Plan:
        layout, slug = self.layout, self.spec.slug
        with_account = self.isolation is not Isolation.NONE
        private = self.isolation is Isolation.PRIVATE
        book = AccountBook(layout)
        uid = book.number(slug, self.user.name) if with_account else None
        home = ensure_home(layout, slug, HomeOwner(self.issuer, self.user.name), uid)
        leads = self.user.name in self._leads()
        groups = book.groups(slug) if with_account else None
        seen_home = HOME_PATH if private else str(home)
        account = safe_name(self.user.name)
        if not private:
            link_shared_volumes(layout, self.spec, home)
        root = layout.hub(slug) / "root"
        root.mkdir(mode=0o700, exist_ok=True)
        return Plan(
            command=tuple(wrapped(command, self.spec.git_repositories, self.spec.start_commands)),
            environment={
                # a course that has settings of its own keeps them
                "JUPYTER_CONFIG_PATH": str(SETTINGS),
                **environment,
                **self._own_variables(seen_home, account),
            },
            home=Volume(str(home), HOME_PATH, read_only=False),
            log=SERVER_LOG,
            private=private,
            uid=uid,
            gid=uid,
            groups=() if groups is None else (groups.everybody, *([groups.leads] if leads else [])),
            account=account,
            root=str(root),
            programs=tuple(str(folder) for folder in (*python_folders(), SETTINGS)),
            volumes=tuple(
                Volume(
                    str(layout.shared(slug) / volume.name),
                    volume.mount_path,
                    read_only=volume.kind == "material" and not leads,
                )
                for volume in self.spec.shared_volumes
            ),
            limits=Limits(
                memory=int(self.mem_limit),
                processes=MAX_PROCESSES if with_account else None,
                files=MAX_FILES,
                processors=math.ceil(self.cpu_limit),
                nice=5,
            ),
        )

    def _leads(self) -> frozenset[str]:
        return frozenset(self.spec.leads)

    def _own_variables(self, home: str, account: str) -> dict[str, str]:
        return {
            "HOME": home,
            "USER": account,
            "LOGNAME": account,
            "SHELL": "/bin/bash",
            "PATH": os.pathsep.join(
                [str(Path(sys.prefix) / "bin"), f"{home}/.local/bin", "/usr/local/bin", "/usr/bin", "/bin"]
            ),
        }

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """Nothing here: home and account are known only when the server is planned."""
        return env

    def load_state(self, state: dict[str, Any]) -> None:
        """Find the server of an earlier hub process again."""
        super().load_state(state)
        self._started = state.get("started", 0)

    def get_state(self) -> dict[str, Any]:
        """Process id, and when it began: ids are used again, above all after a reboot."""
        state: dict[str, Any] = super().get_state()
        if self.pid:
            state["started"] = self._started
        return state

    async def poll(self) -> int | None:
        """None while the server runs, else its exit code as far as it is known."""
        if self.proc is None and self.pid and start_time(self.pid) != self._started:
            self.clear_state()
            return 0
        status: int | None = await super().poll()
        return status
