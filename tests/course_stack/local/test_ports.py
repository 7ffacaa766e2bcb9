"""A hub's port: reserved once, given up when a stranger sits there, never given twice."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from course_stack.local.layout import Layout
from course_stack.local.ports import HUB_PORTS, PortBook, PortError


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@contextmanager
def listener() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_second_deploy_finds_the_port_of_the_first(layout: Layout) -> None:
    port = PortBook(layout).reserve("biology")
    assert port in HUB_PORTS
    assert PortBook(layout).reserve("biology") == port
    assert PortBook(layout).reserved("biology") == port


def test_many_at_once_get_different_ports(layout: Layout) -> None:
    slugs = [f"course-{number}" for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        ports = list(pool.map(lambda slug: PortBook(layout).reserve(slug), slugs))
    assert len(set(ports)) == 20
    assert PortBook(layout).read() == dict(zip(slugs, ports, strict=True))


def test_a_port_taken_by_a_stranger_is_given_up_for_another(layout: Layout) -> None:
    with listener() as taken:
        book = PortBook(layout, range(taken, taken + 50))
        book.reserve("biology")
        before = {"biology": taken}
        (layout.hubs / "ports.json").write_text(f'{{"biology": {taken}}}')
        assert book.read() == before
        assert book.reserve("biology") != taken


def test_a_port_on_which_the_hub_itself_listens_is_kept(layout: Layout) -> None:
    with listener() as own:
        book = PortBook(layout, range(own, own + 1))
        layout.hubs.mkdir()
        (layout.hubs / "ports.json").write_text(f'{{"biology": {own}}}')
        assert book.reserve("biology", in_use_by_hub=True) == own


def test_without_a_free_port_the_message_names_the_range_and_who_sits_there(layout: Layout) -> None:
    with listener() as taken:
        book = PortBook(layout, range(taken, taken + 1))
        with pytest.raises(PortError, match=rf"{taken} to {taken} are reserved or in use \({taken} by .*pid \d+\)"):
            book.reserve("biology")
        assert book.read() == {}


def test_a_released_port_can_be_reserved_again(layout: Layout) -> None:
    port = PortBook(layout).reserve("biology")
    narrow = PortBook(layout, range(port, port + 1))
    narrow.release("biology")
    narrow.release("biology")
    assert narrow.reserve("chemistry") == port


def test_a_broken_book_is_an_error_that_names_the_file(layout: Layout) -> None:
    layout.hubs.mkdir()
    (layout.hubs / "ports.json").write_text("{")
    with pytest.raises(PortError, match=r"ports\.json cannot be read"):
        PortBook(layout).reserve("biology")
