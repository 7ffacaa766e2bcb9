"""`jhaas course manifests`: all that a deploy would make, for reading and for other tools, and nothing touched."""

from __future__ import annotations

from typing import Any

import yaml

from course_stack.kubernetes.manifests import manifests, to_yaml
from course_stack.kubernetes.objects import course_objects
from course_stack.spec import load_spec
from tests.course_stack.kubernetes.targets import HELPER, cluster_target
from tests.course_stack.specs import course
from tests.support import charts

TARGET = cluster_target(images={"helper": HELPER, "pull_secret": True})


def written(**changes: Any) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(to_yaml(manifests(load_spec(course(**changes)), TARGET))))


def test_what_is_written_reads_back_as_what_the_stack_would_make() -> None:
    *objects, release = written()
    assert objects == course_objects(load_spec(course()), TARGET)
    assert release["release"] == {
        "name": "jhaas-python-intro",
        "namespace": "jhaas-python-intro",
        "chart": "jupyterhub",
        "repository": "https://hub.jupyter.org/helm-chart/",
        "version": "4.4.0",
        "timeout": 900,
    }
    assert charts.problems("jupyterhub-4.4.0", release["values"]) == []


def test_secrets_are_placeholders_and_what_only_the_deploy_knows_is_in_brackets() -> None:
    *objects, release = written()
    secret = next(one for one in objects if one["kind"] == "Secret")
    assert secret["data"] == {".dockerconfigjson": "[secret: registry.json]"}
    values = release["values"]
    assert values["proxy"]["secretToken"] == "[secret: proxy_token]"
    assert values["hub"]["cookieSecret"] == "[secret: cookie_secret]"
    sign_in = values["hub"]["config"]["CourseAuthenticator"]
    assert sign_in["client_secret"] == "[secret: client_secret]"
    assert sign_in["client_id"] == "[client_id]"


def test_it_reads_like_yaml_written_by_hand() -> None:
    """Files as blocks, no references, keys in their order; the same at every run, so that a review sees changes."""
    text = to_yaml(manifests(load_spec(course(start_commands=["echo one\necho two"])), TARGET))
    assert "&id" not in text
    assert "*id" not in text
    assert "|\n" in text
    assert text == to_yaml(manifests(load_spec(course(start_commands=["echo one\necho two"])), TARGET))
    assert text.startswith("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: jhaas-python-intro\n")
