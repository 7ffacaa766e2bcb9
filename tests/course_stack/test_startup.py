"""What runs before a server: tried in a real shell, with a stand-in for the puller."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from course_stack import startup
from course_stack.spec import GitRepository
from course_stack.startup import TROUBLE, wrapped


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose `gitpuller` notes its arguments, and fails for addresses with `gone`."""
    tools = tmp_path / "bin"
    tools.mkdir()
    puller = tools / "gitpuller"
    puller.write_text(
        '#!/bin/sh\nprintf "%s|" "$@" >>~/pulled; case "$1" in *gone*) echo no such place; exit 1;; esac\n'
    )
    puller.chmod(0o755)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def run(home: Path, repositories: list[GitRepository], steps: list[str], server: str = "echo served >~/served") -> int:
    command = wrapped(["/bin/sh", "-c", server], repositories, steps)
    environment = {"HOME": str(home), "PATH": f"{home.parent / 'bin'}{os.pathsep}/usr/bin:/bin"}
    return subprocess.run(command, env=environment, timeout=60, check=False, cwd=home).returncode


def test_without_a_start_up_the_command_is_the_server_itself() -> None:
    assert wrapped(["server", "--port=1"], [], []) == ["server", "--port=1"]


def test_material_is_fetched_and_commands_run_in_order_before_the_server(home: Path) -> None:
    repositories = [
        GitRepository(url="https://example.org/a/intro"),
        GitRepository(url="https://example.org/a/data.git", branch="v1", folder="my data/files"),
    ]
    assert run(home, repositories, ["echo one >>order", "echo 'two'' x' >>order\necho $HOME >>order"]) == 0
    assert (home / "pulled").read_text() == (
        "https://example.org/a/intro||intro|https://example.org/a/data.git|v1|my data/files|"
    )
    assert (home / "order").read_text() == f"one\ntwo x\n{home}\n"
    assert (home / "served").exists()
    assert not (home / TROUBLE).exists()


def test_what_fails_stops_neither_the_rest_nor_the_server_and_is_told_in_the_home(home: Path) -> None:
    repositories = [GitRepository(url="https://example.org/a/gone")]
    assert run(home, repositories, ["exit 3", "kill -9 $$", "echo still >done"]) == 0
    assert (home / "served").exists()
    assert (home / "done").read_text() == "still\n"
    told = (home / TROUBLE).read_text()
    assert "no such place" in told
    assert "https://example.org/a/gone into gone" in told


def test_the_note_about_problems_goes_when_they_are_gone(home: Path) -> None:
    run(home, [], ["false"])
    assert (home / TROUBLE).exists()
    run(home, [], ["true"])
    assert not (home / TROUBLE).exists()


def test_a_command_that_never_ends_keeps_nobody_waiting(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "WAIT_SECONDS", 1)
    assert run(home, [], ["echo $$ >pid; exec sleep 600"], "echo served >~/served; kill -9 $(cat ~/pid)") == 0
    assert (home / "served").exists()


@pytest.fixture
def without_puller(home: Path) -> Path:
    """A PATH on which only these programs are: no `gitpuller`, and no `git` yet."""
    tools = home.parent / "few"
    tools.mkdir()
    for name in ("sh", "bash", "mkdir", "rm", "timeout", "seq", "sleep", "cat"):
        (tools / name).symlink_to(str(shutil.which(name)))
    return tools


def _run_as_a_file(home: Path, tools: Path, repository: GitRepository) -> int:
    """As in an image: by its plain shell, from a file."""
    start_up = home.parent / "start-up.sh"
    start_up.write_text(startup.script([repository], []))
    command = ["/bin/sh", str(start_up), "/bin/sh", "-c", ": >~/served"]
    environment = {"HOME": str(home), "PATH": str(tools)}
    return subprocess.run(command, env=environment, timeout=60, check=False, cwd=home).returncode


@pytest.mark.parametrize(
    ("branch", "there", "arguments"),
    [
        (None, False, "clone|--|https://example.org/a/intro|intro|"),
        ("v1", False, "clone|--branch|v1|--|https://example.org/a/intro|intro|"),
        ("v1", True, "-C|intro|pull|--ff-only|"),
    ],
)
def test_an_image_without_the_puller_pulls_by_git(
    home: Path, without_puller: Path, branch: str | None, there: bool, arguments: str
) -> None:
    (without_puller / "git").write_text('#!/bin/sh\nprintf "%s|" "$@" >>~/pulled\n')
    (without_puller / "git").chmod(0o755)
    if there:
        (home / "intro/.git").mkdir(parents=True)
    repository = GitRepository(url="https://example.org/a/intro", branch=branch)
    assert _run_as_a_file(home, without_puller, repository) == 0
    assert (home / "pulled").read_text() == arguments
    assert (home / "served").exists()
    assert not (home / TROUBLE).exists()


def test_an_image_without_any_puller_starts_and_says_so(home: Path, without_puller: Path) -> None:
    assert _run_as_a_file(home, without_puller, GitRepository(url="https://example.org/a/intro")) == 0
    assert (home / "served").exists()
    assert "neither nbgitpuller nor git" in (home / TROUBLE).read_text()


def test_the_servers_exit_code_is_kept(home: Path) -> None:
    assert run(home, [], ["true"], "exit 9") == 9


def _told(home: Path, authority: Path, **environment: str) -> dict[str, str]:
    """Variables that the server finds."""
    start_up = home.parent / "start-up.sh"
    start_up.write_text(startup.script([], [], str(authority)))
    command = ["/bin/sh", str(start_up), "/bin/sh", "-c", "env >~/served"]
    given = {"HOME": str(home), "PATH": "/usr/bin:/bin", **environment}
    assert subprocess.run(command, env=given, timeout=60, check=False, cwd=home).returncode == 0
    return dict(line.split("=", 1) for line in (home / "served").read_text().splitlines())


def test_programs_of_a_notebook_believe_the_sites_authority_beside_those_of_the_image(home: Path) -> None:
    authority, image = home.parent / "authority.crt", home.parent / "image.crt"
    authority.write_text("campus\n")
    image.write_text("public\n")
    told = _told(home, authority, SSL_CERT_FILE=str(image))
    assert Path(told["SSL_CERT_FILE"]).read_text() == "public\ncampus\n"
    assert {told[name] for name in startup.TRUSTING} == {told["SSL_CERT_FILE"]}
    # takes it beside its own
    assert told["NODE_EXTRA_CA_CERTS"] == str(authority)


def test_authorities_that_a_course_sets_itself_stay(home: Path) -> None:
    authority = home.parent / "authority.crt"
    authority.write_text("campus\n")
    told = _told(home, authority, GIT_SSL_CAINFO="/mnt/material/git.crt")
    assert told["GIT_SSL_CAINFO"] == "/mnt/material/git.crt"
    assert Path(told["CURL_CA_BUNDLE"]).read_text().endswith("campus\n")
    assert Path(told["CURL_CA_BUNDLE"]).read_text().count("BEGIN CERTIFICATE") > 50
