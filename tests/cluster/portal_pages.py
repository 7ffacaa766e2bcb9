"""The portal's pages, as somebody in a browser uses them."""

from __future__ import annotations

import re
from typing import Any

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
