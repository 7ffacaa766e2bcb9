"""The portal's pages, as somebody in a browser uses them."""

from __future__ import annotations

import re
from typing import Any

from tests.cluster.course import SMALL
from tests.support.browser import Browser
from tests.support.waiting import wait_for


def send(browser: Browser, path: str, ends_in: str, **values: str) -> Any:
    """Send the form of the page whose address ends so, with these values."""
    page = browser.get(path)
    assert page.status_code == 200, (page.status_code, page.text[:2000])
    form = next(one for one in browser.forms(page) if one.action.endswith(ends_in) and one.method == "post")
    answer = browser.submit(page, form, **values)
    assert answer.status_code == 200, (answer.status_code, answer.text[:4000])
    return answer


def approved(portal: str, teacher: Browser, governance: Browser, *, image: str, day: str, slug: str, title: str) -> str:
    """Ask for a small course of one day, and approve it; its address in the portal."""
    fields = {
        "title": title,
        "slug": slug,
        "first_day": day,
        "last_day": day,
        "seats": "3",
        "join_policy": "admits",
        "target": "cluster",
        "image": image,
        "default_url": "/lab",
        "home_size": "0.25",
        **{f"resources.{name}": str(value) for name, value in SMALL.items()},
    }
    course = str(send(teacher, f"{portal}/courses/new", "/courses/new", **fields).url)
    assert status(teacher, course) == "waiting for approval"
    number = course.rstrip("/").rpartition("/")[2].partition("?")[0]
    send(governance, f"{portal}/governance/courses/{number}", "/approve")
    return course


def status(browser: Browser, url: str) -> str:
    page = browser.get(url)
    found = re.search(r'class="lead"><span class="status [^>]*>.*?</svg>\s*([^<]*?)\s*</span>', page.text, re.DOTALL)
    assert found, page.text[:3000]
    return found[1].strip()


def until(browser: Browser, url: str, wanted: str, seconds: float) -> None:
    def reached() -> bool:
        found = status(browser, url)
        assert "failed" not in found, _failures(browser.get(url).text)
        return found == wanted

    wait_for(reached, f"the course is {wanted}", seconds)


def _failures(page: str) -> list[str]:
    """What the course's page tells of its operations."""
    return [re.sub(r"<[^>]*>|\s+", " ", one) for one in re.findall(r'data-label="Failure">(.*?)</td>', page, re.DOTALL)]
