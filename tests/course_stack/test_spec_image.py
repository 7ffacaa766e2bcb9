"""Image references: ports, tags and digests are told apart, and only pinned images pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_stack.spec import ImageReference
from tests.course_stack.specs import problems

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("scipy:1.0", "docker.io", "library/scipy", "1.0", None),
        ("jupyter/scipy:2023-10-20", "docker.io", "jupyter/scipy", "2023-10-20", None),
        ("quay.io/jupyter/scipy-notebook:2026-10-05", "quay.io", "jupyter/scipy-notebook", "2026-10-05", None),
        ("localhost:5000/a/b:1", "localhost:5000", "a/b", "1", None),
        ("localhost/a:1", "localhost", "a", "1", None),
        ("registry.example.org:8443/a@" + DIGEST, "registry.example.org:8443", "a", None, DIGEST),
        ("quay.io/a/b:v1@" + DIGEST, "quay.io", "a/b", "v1", DIGEST),
        ("a__b/c-d.e:T_1", "docker.io", "a__b/c-d.e", "T_1", None),
    ],
)
def test_parts_of_a_reference(text: str, registry: str, repository: str, tag: str | None, digest: str | None) -> None:
    image = ImageReference.parse(text)
    assert (image.registry, image.repository, image.tag, image.digest) == (registry, repository, tag, digest)
    assert str(image) == text


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("quay.io/jupyter/scipy-notebook", "missing"),
        ("localhost:5000/scipy", "missing"),
        ("scipy:latest", "latest"),
        ("scipy:latest@" + DIGEST, "latest"),
        ("scipy@sha256:abc", "sha256"),
        ("scipy@md5:" + "0" * 32, "sha256"),
        ("scipy@", "sha256"),
        ("scipy:", "tag"),
        ("scipy:-x", "tag"),
        ("scipy:" + "x" * 129, "tag"),
        ("Scipy:1", "small letters"),
        ("a//b:1", "small letters"),
        ("a/b/:1", "small letters"),
        ("/a:1", "small letters"),
        ("host.example:99999/a:1", "registry"),
        ("host.example:0/a:1", "registry"),
        ("-host.example/a:1", "registry"),
        ("a" * 300 + ":1", "too long"),
        ("https://quay.io/a:1", "without http"),
        ("a b:1", "spaces"),
        ("a:1\n", "spaces"),
        ("", "spaces"),
    ],
)
def test_references_that_are_refused(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        ImageReference.parse(text)


@given(text=st.text("aZ0.:/@-_ ", max_size=30))
def test_any_text_is_refused_or_comes_back_as_written(text: str) -> None:
    try:
        image = ImageReference.parse(text)
    except ValueError:
        return
    assert str(image) == text
    assert image.tag or image.digest


def test_a_course_s_image_is_checked_the_same_way() -> None:
    assert problems(image="quay.io/jupyter/scipy-notebook:latest").keys() == {"image"}
    assert problems(profiles=[{"name": "x", "image": "scipy"}]).keys() == {"profiles[0].image"}
    assert problems(image=5).keys() == {"image"}
