"""Passwords as the random provider makes them."""

from __future__ import annotations

import string
from typing import Any

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.embedded.providers import ProviderError
from automation.embedded.random_password import TYPE, RandomProvider
from automation.embedded.state import Resource
from automation.embedded.values import Secret, masked, plain


def provider() -> RandomProvider:
    def none() -> Any:
        raise AssertionError("no plugin is needed for passwords")

    return RandomProvider(none)


def password(**inputs: Any) -> Resource:
    return Resource(urn="urn:pulumi:s::p::t::n", custom=True, type=TYPE, inputs=inputs)


def made(**inputs: Any) -> dict[str, Any]:
    return provider().create(password(**inputs), preview=False).outputs


def test_a_password_has_what_the_plugin_writes_and_its_hash() -> None:
    outputs = made(length=24, special=False)

    assert set(outputs) == {
        "__meta", "__pulumi_raw_state_delta", "bcryptHash", "id", "length", "lower", "minLower", "minNumeric",
        "minSpecial", "minUpper", "number", "numeric", "result", "special", "upper",
    }  # fmt: skip
    assert masked(outputs["result"]) == masked(outputs["bcryptHash"]) == "[secret]"
    assert bcrypt.checkpw(plain(outputs["result"]).encode(), plain(outputs["bcryptHash"]).encode())
    assert plain(outputs["__pulumi_raw_state_delta"]) == {
        "obj": {"ps": {"keepers": {"replace": {"raw": None}}, "overrideSpecial": {"replace": {"raw": None}}}}
    }


def test_keepers_and_special_characters_are_kept() -> None:
    outputs = made(length=8, keepers={"a": "1"}, overrideSpecial="!", lower=False, upper=False, numeric=False)

    assert plain(outputs["result"]) == "!" * 8
    assert plain(outputs["__pulumi_raw_state_delta"]) == {"obj": {"ps": {"keepers": {"map": {}}}}}
    assert outputs["number"] is outputs["numeric"] is False


@given(
    st.integers(1, 30),
    st.fixed_dictionaries({name: st.integers(0, 3) for name in ("minLower", "minUpper", "minNumeric", "minSpecial")}),
)
def test_a_password_is_as_long_and_as_mixed_as_asked(more: int, least: dict[str, int]) -> None:
    from automation.embedded.random_password import _password, _wanted

    text = _password(_wanted({"length": sum(least.values()) + more, **least}))

    assert len(text) == sum(least.values()) + more
    kinds = {"minLower": string.ascii_lowercase, "minUpper": string.ascii_uppercase, "minNumeric": string.digits}
    for name, letters in kinds.items():
        assert sum(letter in letters for letter in text) >= least[name]
    assert sum(not letter.isalnum() for letter in text) >= least["minSpecial"]


def test_two_passwords_differ() -> None:
    assert plain(made(length=24)["result"]) != plain(made(length=24)["result"])


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"length": 0}, "at least 1"),
        ({}, "whole number"),
        ({"length": 2, "minUpper": 2, "minLower": 1}, "at least 3"),
        ({"length": 2, "lower": False, "upper": False, "numeric": False, "special": False}, "must be true"),
    ],
)
def test_impossible_passwords_are_refused(inputs: dict[str, Any], reason: str) -> None:
    _, failures = provider().check(password(), None, inputs, preview=False)

    assert [key for key, _ in failures] == ["length"]
    assert reason in failures[0][1]


def test_any_change_replaces_and_defaults_are_no_change() -> None:
    old = password(length=24)
    old.outputs = made(length=24)
    new = password()

    def replaced(**inputs: Any) -> tuple[str, ...]:
        diff = provider().diff(new, old, inputs, [], preview=False)
        assert diff is not None
        return diff.replaces

    assert replaced(length=24, special=True, minLower=0) == ()
    assert replaced(length=Secret(24)) == ()
    assert replaced(length=25) == ("length",)
    assert replaced(length=24, keepers={"a": "1"}) == ("keepers",)
    assert replaced(length=24, numeric=False) == ("number", "numeric")


def test_a_preview_knows_that_the_result_will_be_secret() -> None:
    outputs = provider().create(password(length=8), preview=True).outputs

    assert repr(outputs["result"]) == "[secret]"
    assert repr(outputs["result"].value) == "[unknown]"


def test_other_random_resources_say_that_they_need_the_plugin() -> None:
    from automation.embedded.errors import EngineError

    def none() -> Any:
        raise EngineError("no resource plugin 'pulumi-resource-random' found on PATH")

    with pytest.raises(ProviderError, match=r"randomPet:RandomPet needs the plugin: no resource plugin"):
        RandomProvider(none).check(
            Resource(urn="u", custom=True, type="random:index/randomPet:RandomPet"), None, {}, preview=False
        )
