"""The image: pinned, without secrets, without root, and with what its processes import."""

from __future__ import annotations

import ast
import fnmatch
import hashlib
import io
import re
import subprocess
import tarfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import packages_distributions
from pathlib import Path
from threading import Thread

import pytest

from tests.platform_stack.conftest import ROOT
from tools.fetch_archive import PUBLISHED, Refused, address, fetch, main, published

TEXT = (ROOT / "Dockerfile").read_text()


def instructions() -> list[tuple[str, str]]:
    """(word, rest) of every instruction, continued lines joined, comments left out."""
    lines = [line for line in TEXT.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    found = [line.strip().split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(word.upper(), rest) for word, rest in found]


def arguments() -> dict[str, str]:
    return {
        name: value.strip('"')
        for word, rest in instructions()
        if word == "ARG"
        for name, _, value in [rest.partition("=")]
    }


def last_stage() -> list[tuple[str, str]]:
    every = instructions()
    begin = max(index for index, (word, _) in enumerate(every) if word == "FROM")
    return every[begin:]


def required() -> dict[str, str]:
    """Name → version of requirements.txt."""
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line]
    return {re.split(r"[\[=]", line)[0]: line.rpartition("==")[2] for line in lines}


def test_h4_every_stage_stands_on_a_base_that_cannot_change() -> None:
    bases = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
    assert set(bases) == {"${PYTHON_IMAGE}"}
    assert re.fullmatch(
        r"docker\.io/library/python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", arguments()["PYTHON_IMAGE"]
    )


def number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


@pytest.mark.parametrize(
    ("argument", "package"),
    [("PULUMI_KUBERNETES_VERSION", "pulumi-kubernetes"), ("PULUMI_RANDOM_VERSION", "pulumi-random")],
)
def test_a_plugin_is_of_the_line_that_python_asks_for_and_not_older(argument: str, package: str) -> None:
    given, wanted = number(arguments()[argument]), number(required()[package])
    assert given[:2] == wanted[:2]
    assert given >= wanted


def test_pulumi_is_of_pythons_major_new_enough_and_has_the_plugin_of_dynamic_resources() -> None:
    from automation.engine import _DYNAMIC_PLUGIN, OLDEST_CLI

    given = number(arguments()["PULUMI_VERSION"])
    assert given[0] == number(required()["pulumi"])[0]
    assert given >= OLDEST_CLI
    assert f" {_DYNAMIC_PLUGIN} " in TEXT


def test_h20_the_last_user_is_a_number_and_not_root() -> None:
    (user,) = [rest for word, rest in last_stage() if word == "USER"]
    from portal_objects import USER

    assert user == f"{USER}:{USER}"
    assert USER > 0
    # nothing runs as root after it, and nothing is given to it
    words = [word for word, _ in last_stage()]
    assert "RUN" not in words
    assert not [rest for word, rest in last_stage() if word == "COPY" and "--chown" in rest]


def test_the_number_of_the_user_has_a_name() -> None:
    """Pulumi's CLI makes no stack for somebody who has none (`user: unknown userid`)."""
    from portal_objects import USER

    (name,) = re.findall(rf'echo "(\w+):x:{USER}:{USER}:[^"]*" >> /etc/passwd', TEXT)
    assert name != "root"
    assert ("COPY", "--from=python /etc/passwd /etc/passwd") in last_stage()


def test_nothing_comes_from_the_net_unchecked() -> None:
    assert not [rest for word, rest in instructions() if word == "ADD"]
    runs = [rest for word, rest in instructions() if word == "RUN"]
    assert not [run for run in runs if re.search(r"\b(curl|wget|apt-get|apk|git)\b", run)]
    addresses = re.findall(r"\$\{GITHUB\}\S+", " ".join(runs))
    sums = re.findall(r'"\$\{(\w+_SHA256)\}"', " ".join(runs))
    assert len(addresses) == len(sums) == 3
    # an empty one is looked up by the archive's name
    assert {arguments()[name] for name in sums} == {""}
    installs = [run for run in runs if "pip install" in run]
    assert installs
    assert "PIP_CONSTRAINT=/build/constraints.txt" in TEXT


@pytest.mark.parametrize(("processor", "cpu"), [("amd64", "x64"), ("arm64", "arm64")])
def test_of_each_archive_of_these_versions_the_checksum_is_known(processor: str, cpu: str) -> None:
    names = {**arguments(), "TARGETARCH": processor, "cpu": cpu}
    fetched = re.findall(r"\$\{GITHUB\}\S+/([^/\s]+\.tar\.gz)", TEXT)
    wanted = {re.sub(r"\$\{(\w+)\}", lambda found: names[found[1]], name) for name in fetched}
    assert len(wanted) == 3
    assert wanted <= published().keys()
    assert all(re.fullmatch("[0-9a-f]{64}", one) for one in published().values())
    assert len({*published().values()}) == len(published()) == 6


def test_no_tag_moves_and_no_secret_is_baked_in() -> None:
    assert "latest" not in TEXT
    names = [*arguments(), *re.findall(r"([A-Z_]+)=", " ".join(rest for word, rest in instructions() if word == "ENV"))]
    assert not [name for name in names if re.search(r"PASSWORD|TOKEN|SECRET|CREDENTIAL|(?<!SHA256_)KEY$", name)]


def test_the_entry_point_is_the_command_whose_words_pods_give() -> None:
    assert ("ENTRYPOINT", '["jhaas"]') in last_stage()
    from typer.main import get_command

    from portal.cli.portal import app

    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    assert {"web", "worker", "scheduler", "migrate", "targets"} <= known


def test_what_is_copied_is_let_into_the_build_and_nothing_else_is() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        source
        for word, rest in instructions()
        if word == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }
    assert copied <= let_in
    assert let_in - copied == {"Dockerfile"}
    for path in (".git", "Pulumi.try.yaml", "tests", ".venv", "platform"):
        assert not any(fnmatch.fnmatch(path, rule) for rule in let_in)


def test_what_is_left_out_no_process_of_a_cluster_imports() -> None:
    """Hubs of one machine, and AWS's provider, have packages that take hundreds of megabytes."""
    left_out = set(arguments()["LEFT_OUT"].split())
    assert left_out <= set(required())
    of_one_machine = ("course_stack/local/", "course_stack/hub_files/", "course_stack/jupyter/", "automation/embedded/")
    files = [
        path
        for package in ("course_stack", "automation", "portal")
        for path in (ROOT / package).rglob("*.py")
        if not path.relative_to(ROOT).as_posix().startswith(of_one_machine)
    ]
    modules = {name for path in files for name in imported(path)}
    packages = packages_distributions()
    needed = {one.lower().replace("_", "-") for name in modules for one in packages.get(name, ())}
    assert {"flask", "pulumi", "boto3", "lightkube"} <= needed
    assert needed.isdisjoint(left_out)


def imported(path: Path) -> set[str]:
    """Top-level names of everything that a module imports, in its functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {one.name.partition(".")[0] for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_what_is_left_out_is_found_by_its_whole_name(tmp_path: Path) -> None:
    """`jupyterhub` and `jupyterhub-traefik-proxy` are two packages, and `canaille[…]` is one."""
    (pattern,) = re.findall(r'grep -vE "(\S+ .*?)" /build', TEXT)
    script = f'grep -vE "{pattern}" {ROOT / "requirements.txt"}'
    kept = subprocess.run(
        ["sh", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"LEFT_OUT": arguments()["LEFT_OUT"], "PATH": "/usr/bin:/bin"},
    ).stdout
    names = {re.split(r"[\[=]", line)[0] for line in kept.splitlines() if "==" in line}
    assert names == set(required()) - set(arguments()["LEFT_OUT"].split())


# --- archives


@pytest.fixture
def archive(tmp_path: Path) -> tuple[str, str]:
    """Address and checksum of an archive with two programs."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as made:
        for name in ("pulumi/pulumi", "pulumi/other", "../outside"):
            content = f"#!/bin/sh\n# {name}\n".encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(buffer.getvalue())
    return path.as_uri(), hashlib.sha256(buffer.getvalue()).hexdigest()


def test_only_the_programs_that_are_named_get_out_of_an_archive(archive: tuple[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "programs"
    folder.mkdir()
    fetch(*archive, folder, ["pulumi"])
    assert [one.name for one in folder.iterdir()] == ["pulumi"]
    assert (folder / "pulumi").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("sha256", "why"),
    [
        ("", "no SHA-256 of this archive is known"),
        ("0" * 64, "its SHA-256 is"),
        (None, "there is no pulumi-gone in it"),
    ],
)
def test_an_archive_that_is_not_what_it_should_be_is_not_unpacked(
    archive: tuple[str, str], tmp_path: Path, sha256: str | None, why: str
) -> None:
    folder = tmp_path / "programs"
    folder.mkdir()
    with pytest.raises(Refused, match=why):
        fetch(archive[0], archive[1] if sha256 is None else sha256, folder, ["pulumi", "pulumi-gone"])
    assert list(folder.iterdir()) == []


def test_without_a_checksum_only_archives_whose_checksum_is_published_are_taken(
    archive: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "programs"
    folder.mkdir()
    sums = tmp_path / "sums"
    sums.write_text("# of whom\n" + "0" * 64 + "  archive.tar.gz\n")
    monkeypatch.setattr(published, "__defaults__", (sums,))
    assert main([archive[0], "", str(folder), "pulumi"]) == 1
    assert "should be 0000" in capsys.readouterr().err
    sums.write_text(f"{archive[1]}  archive.tar.gz\n")
    assert main([archive[0], "", str(folder), "pulumi"]) == 0
    assert (folder / "pulumi").exists()


def test_the_sums_of_the_archives_themselves_are_one_command_away(
    archive: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in published():
        path = tmp_path / address(name, "mirror")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((tmp_path / "archive.tar.gz").read_bytes())
    assert main(["--sums", (tmp_path / "mirror").as_uri()]) == 0
    told = capsys.readouterr().out
    assert re.findall(r"^(\w+)  (\S+)$", told, re.MULTILINE) == [(archive[1], name) for name in published()]
    # comments stay, so that what is printed can take the file's place
    assert [line for line in told.splitlines() if line.startswith("#")] == [
        line for line in PUBLISHED.read_text().splitlines() if line.startswith("#")
    ]
    assert main(["--sums", (tmp_path / "gone").as_uri()]) == 1


@pytest.fixture
def mirror() -> Iterator[tuple[str, dict[str, tuple[int, bytes]]]]:
    """Address of a mirror, and what it answers by path; 404 to every other."""
    answers: dict[str, tuple[int, bytes]] = {}

    class Mirror(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content = answers.get(self.path, (404, b""))
            self.send_response(status)
            self.send_header("Content-Length", "1000" if status == 200 else "0")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", answers
        server.shutdown()
        thread.join()


def test_of_an_archive_that_cannot_be_fetched_it_is_said_which_and_what_to_do(
    mirror: tuple[str, dict[str, tuple[int, bytes]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, answers = mirror
    answers["/broken.tar.gz"] = 200, b"half"
    answers["/closed.tar.gz?X-Amz-Signature=s3cr3t"] = 403, b""
    told = {}
    for name, query in (("gone.tar.gz", ""), ("closed.tar.gz", "?X-Amz-Signature=s3cr3t"), ("broken.tar.gz", "")):
        assert main([f"{place}/{name}{query}", "0" * 64, str(tmp_path), "pulumi"]) == 1
        told[name] = capsys.readouterr().err
    what_to_do = (
        "Are version and processor ones that are released? A mirror of the archives is named by the build argument "
        "GITHUB (docs/image.md).\n"
    )
    assert told == {
        "gone.tar.gz": f"{place}/gone.tar.gz cannot be fetched: 404 Not Found. {what_to_do}",
        "closed.tar.gz": f"{place}/closed.tar.gz cannot be fetched: 403 Forbidden. {what_to_do}",
        "broken.tar.gz": f"{place}/broken.tar.gz cannot be fetched: the answer broke off. {what_to_do}",
    }
    assert main(["--sums", place]) == 1
    told_of_sums = capsys.readouterr()
    assert told_of_sums.err.startswith(f"{place}/pulumi/pulumi/releases/download/")
    assert "404 Not Found" in told_of_sums.err


@pytest.mark.parametrize("url", ["mirror.example.org/a.tar.gz", "https://me:s3cr3t@mirror.example.org/a.tar.gz"])
def test_what_is_no_address_of_an_archive_is_refused_without_its_password(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([url, "0" * 64, str(tmp_path), "pulumi"]) == 1
    told = capsys.readouterr().err
    assert "mirror.example.org/a.tar.gz cannot be fetched: this is no address" in told
    assert "s3cr3t" not in told


def test_no_query_of_an_address_is_told_or_taken_for_a_name(
    archive: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mirror may ask for a signature, which opens the archive to whoever has it."""
    import tools.fetch_archive

    signed = "https://mirror.example.org/archive.tar.gz?X-Amz-Signature=s3cr3t"
    content = (tmp_path / "archive.tar.gz").read_bytes()
    monkeypatch.setattr(tools.fetch_archive, "urlopen", lambda url, timeout: io.BytesIO(content))
    sums = tmp_path / "sums"
    sums.write_text(f"{archive[1]}  archive.tar.gz\n")
    monkeypatch.setattr(published, "__defaults__", (sums,))
    assert main([signed, "", str(tmp_path), "pulumi"]) == 0
    for sha256, program in (("", "pulumi-gone"), ("0" * 64, "pulumi"), ("0", "pulumi")):
        assert main([signed, sha256, str(tmp_path), program]) == 1
        told = capsys.readouterr().err
        assert told.startswith("https://mirror.example.org/archive.tar.gz: ")
        assert "s3cr3t" not in told


def test_archives_are_looked_for_where_the_dockerfile_fetches_them() -> None:
    names = {**arguments(), "TARGETARCH": "amd64", "cpu": "x64"}
    fetched = re.findall(r"\$\{GITHUB\}(\S+\.tar\.gz)", TEXT)
    wanted = {re.sub(r"\$\{(\w+)\}", lambda found: names[found[1]], place) for place in fetched}
    assert wanted <= {address(name, "") for name in published()}
