"""Every mail that the portal writes: to whom, when, and its words. Pure data; `portal.mail.render` fills it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from portal.texts import N_

Link = Literal["home", "course", "people", "approvals", "operation", "hub"]

COURSE_FACTS = frozenset({"title", "first_day", "last_day"})
"""What every mail of a course is given without being asked. Facts whose names end in `_day` are days, in `_at`
instants: both are stored in ISO form and written out in the recipient's language."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A message id with `%(fact)s` for facts. Without a fact that it names it is left out, if it is not `needed`."""

    text: str
    needed: bool = True

    @property
    def facts(self) -> frozenset[str]:
        return facts_in(self.text)


@dataclass(frozen=True, slots=True)
class MailEvent:
    """One kind of mail. `to` and `when` are for the documentation."""

    name: str
    to: str
    when: str
    subject: str
    paragraphs: tuple[Paragraph, ...]
    link: Link
    of_course: bool = True

    @property
    def needs(self) -> frozenset[str]:
        """Facts without which it makes no sense."""
        found = facts_in(self.subject).union(*(one.facts for one in self.paragraphs if one.needed))
        return found - COURSE_FACTS if self.of_course else found


def facts_in(text: str) -> frozenset[str]:
    """Names of the facts that a text has places for."""
    return frozenset(re.findall(r"%\((\w+)\)s", text))


LINK_NAMES: dict[Link, str] = {
    "home": N_("Open the portal"),
    "course": N_("Open the course's page"),
    "people": N_("Open the list of people"),
    "approvals": N_("Open the courses that wait for a decision"),
    "operation": N_("See what happened"),
    "hub": N_("Open the course's notebooks"),
}


def _maybe(text: str) -> Paragraph:
    return Paragraph(text, needed=False)


def _event(
    name: str, to: str, when: str, subject: str, *text: str | Paragraph, link: Link = "course", of_course: bool = True
) -> MailEvent:
    paragraphs = tuple(one if isinstance(one, Paragraph) else Paragraph(one) for one in text)
    return MailEvent(name, to, when, subject, paragraphs, link, of_course)


_LEADS = "leads"
_BOTH = "leads and participants"
_GOVERNANCE = "governance"
_LEADS_AND_GOVERNANCE = "leads and governance"

_REASON = _maybe(N_("The reason given: %(reason)s"))
_FAILURE = _maybe(N_("What went wrong: %(failure)s"))
_NOTHING_TO_DO = N_("Governance was told as well and looks into it; you need not do anything.")

_ALL = (
    # --- asking and deciding
    _event(
        "course_requested",
        _GOVERNANCE,
        "somebody asked for a course",
        N_("Course to decide on: %(title)s"),
        _maybe(N_("%(requester)s asks for the course %(title)s.")),
        N_("It shall run from %(first_day)s to %(last_day)s. Please approve or reject it."),
        link="approvals",
    ),
    _event(
        "course_approved",
        _LEADS,
        "governance approved the course",
        N_("Your course %(title)s is approved"),
        N_("Your course %(title)s is approved. It runs from %(first_day)s to %(last_day)s."),
        N_("It is set up by itself in time. On its page you find the link with which participants join."),
    ),
    _event(
        "course_rejected",
        _LEADS,
        "governance rejected the course",
        N_("Your course %(title)s is not approved"),
        N_("Your course %(title)s was not approved."),
        _REASON,
        N_("You can ask again with other figures: its page has a button that copies it."),
    ),
    _event(
        "course_withdrawn",
        "leads, governance, and participants of an approved course",
        "the course was withdrawn before it had a hub",
        N_("The course %(title)s was withdrawn"),
        N_("The course %(title)s was withdrawn. It is not set up."),
        _REASON,
    ),
    _event(
        "course_expired",
        _LEADS,
        "the last day passed before the course had a hub",
        N_("The course %(title)s has expired"),
        N_("The last day of %(title)s, %(last_day)s, passed before it was approved or set up."),
        N_("Nothing will happen any more. If you still need it, ask again with new dates."),
    ),
    _event(
        "change_requested",
        _GOVERNANCE,
        "a change of an approved course was asked for",
        N_("Change to decide on: %(title)s"),
        _maybe(N_("%(requester)s asks for a change of the course %(title)s.")),
        _maybe(N_("Their comment: %(comment)s")),
        N_("Please approve or reject it."),
        link="approvals",
    ),
    _event(
        "change_approved",
        _LEADS,
        "governance approved the change",
        N_("The change of %(title)s is approved"),
        N_("The change that was asked for in %(title)s is approved and is carried out by itself."),
        N_("A new notebook image reaches each person when their server starts the next time."),
    ),
    _event(
        "change_rejected",
        _LEADS,
        "governance rejected the change",
        N_("The change of %(title)s is not approved"),
        N_("The change that was asked for in %(title)s was not approved. The course goes on as it is."),
        _REASON,
    ),
    _event(
        "change_withdrawn",
        _LEADS_AND_GOVERNANCE,
        "the change was withdrawn",
        N_("The change of %(title)s was withdrawn"),
        N_("The change that was asked for in %(title)s was withdrawn. The course goes on as it is."),
    ),
    _event(
        "course_extended",
        _BOTH,
        "the course got a later last day",
        N_("The course %(title)s runs longer"),
        N_("The course %(title)s now runs until the end of %(last_day)s."),
    ),
    _event(
        "course_ended_early",
        _BOTH,
        "the course was ended before its last day",
        N_("The course %(title)s has ended"),
        N_("The course %(title)s was ended before its last day. Its notebooks are being stopped."),
        _REASON,
        N_("Every file is copied before anything is removed."),
    ),
    _event(
        "lead_added",
        "the new lead",
        "somebody was made a lead",
        N_("You lead the course %(title)s"),
        N_("You are now one of those who lead the course %(title)s (%(first_day)s to %(last_day)s)."),
    ),
    _event(
        "lead_removed",
        "the former lead",
        "somebody is no lead any more",
        N_("You no longer lead the course %(title)s"),
        N_("You are no longer one of those who lead the course %(title)s."),
        link="home",
    ),
    # --- the hub
    _event(
        "course_ready",
        _BOTH,
        "a notebook was proven to run",
        N_("The course %(title)s is ready"),
        N_("The course %(title)s is set up, and a notebook was started in it to prove that it works."),
        N_("Participants get in from %(first_day)s to %(last_day)s, teachers at once."),
        _maybe(N_("You get to your notebook here: %(hub_url)s")),
    ),
    _event(
        "deploy_failed",
        _LEADS,
        "the bounded tries to set the course up failed",
        N_("The course %(title)s could not be set up"),
        N_("The course %(title)s could not be set up, although it was tried several times."),
        _FAILURE,
        _NOTHING_TO_DO,
    ),
    _event(
        "removal_failed",
        _LEADS,
        "the bounded tries to remove the hub failed",
        N_("The course %(title)s could not be removed"),
        N_("The course %(title)s is over, but something of it could not be removed."),
        _FAILURE,
        _NOTHING_TO_DO,
    ),
    _event(
        "update_failed",
        _LEADS,
        "the bounded tries to carry a change out failed, or no notebook could be started after it",
        N_("The change of %(title)s could not be carried out"),
        N_("The approved change of %(title)s could not be carried out. The course goes on as it was before."),
        _FAILURE,
        _NOTHING_TO_DO,
    ),
    _event(
        "restore_failed",
        _LEADS,
        "a change failed, and so did the bounded tries to set the course back to what it was before",
        N_("The course %(title)s may not work"),
        N_("A change of %(title)s failed, and the course could not be set back to what it was before it."),
        _FAILURE,
        _NOTHING_TO_DO,
    ),
    _event(
        "check_failed",
        _LEADS,
        "no notebook could be started in a look at the running course",
        N_("Notebooks of %(title)s may not start"),
        N_("A look at the course %(title)s found that a notebook could not be started."),
        _FAILURE,
        _NOTHING_TO_DO,
    ),
    _event(
        "close_failed",
        _LEADS,
        "servers could not be stopped at the end",
        N_("The course %(title)s could not be closed"),
        N_("The course %(title)s is over, but not every notebook could be stopped. Nothing is removed before that."),
        _FAILURE,
        _NOTHING_TO_DO,
    ),
    _event(
        "archive_failed",
        _LEADS,
        "homes could not be archived",
        N_("Files of %(title)s could not be copied"),
        N_("Not every home of the course %(title)s could be archived. Nothing is removed before that is settled."),
        _FAILURE,
        _NOTHING_TO_DO,
    ),
    _event(
        "operation_failed",
        _GOVERNANCE,
        "an operation failed for good: set-up, change, look, end, archive or removal",
        N_("Failed: %(kind)s of %(title)s"),
        N_("The bounded tries of an operation of the course %(title)s failed (%(kind)s). Somebody has to look at it."),
        _FAILURE,
        _maybe(N_("As it was told: %(details)s")),
        link="operation",
    ),
    # --- people
    _event(
        "participant_waiting",
        _LEADS,
        "somebody asked to join; one mail a day",
        N_("People wait to join %(title)s"),
        N_("Somebody has asked to join the course %(title)s and waits for your consent."),
        link="people",
    ),
    _event(
        "participant_accepted",
        "the participant",
        "somebody joined, or a lead consented",
        N_("You are in the course %(title)s"),
        N_("You take part in the course %(title)s, from %(first_day)s to %(last_day)s."),
        _maybe(N_("You get to your notebook here: %(hub_url)s")),
    ),
    _event(
        "participant_rejected",
        "the participant",
        "a lead did not consent",
        N_("You are not in the course %(title)s"),
        N_("Your request to join the course %(title)s was not accepted. Its teachers can tell you why."),
        link="home",
    ),
    _event(
        "participant_removed",
        "the participant",
        "a lead removed somebody",
        N_("You no longer take part in %(title)s"),
        N_("You were removed from the course %(title)s, and your access has ended. Its teachers can tell you why."),
        N_("The files in your notebook are kept and archived with the course."),
        link="home",
    ),
    _event(
        "participant_left",
        "the participant",
        "somebody left",
        N_("You have left the course %(title)s"),
        N_("You have left the course %(title)s, and your access has ended."),
        N_("If that was a mistake, join again by its link."),
        link="home",
    ),
    _event(
        "welcome",
        "a new user",
        "somebody signed in for the first time",
        N_("Welcome to %(site_name)s"),
        N_("You have signed in to %(site_name)s for the first time. Here you find your courses and their notebooks."),
        link="home",
        of_course=False,
    ),
    # --- the end
    _event(
        "ending_soon",
        _BOTH,
        "14, 7 and 1 days before the end; after a downtime only the nearest",
        N_("The course %(title)s ends on %(last_day)s"),
        N_("The course %(title)s ends on %(last_day)s, at midnight. Then its notebooks stop."),
        N_("Every file is copied before anything is removed. Teachers can extend the course on its page."),
    ),
    _event(
        "closing",
        _BOTH,
        "the course is over",
        N_("The course %(title)s is over"),
        N_("The course %(title)s is over, and its notebooks have stopped. Every file is being copied."),
        _maybe(N_("Its hub is removed after %(destroy_day)s.")),
    ),
    _event(
        "archived",
        _BOTH,
        "the hub is gone and the archives are verified",
        N_("Your files from %(title)s are kept"),
        N_("The files of the course %(title)s are copied and checked, and its hub is removed."),
        _maybe(N_("They are kept until %(until_day)s.")),
    ),
    _event(
        "destroy_soon",
        _LEADS,
        "days before the hub of a closed course is removed",
        N_("The hub of %(title)s is removed soon"),
        N_("The hub of the course %(title)s is removed soon; until then you can still extend the course on its page."),
        _maybe(N_("It is removed on %(destroy_day)s.")),
    ),
    _event(
        "purge_soon",
        _BOTH,
        "days before the archives are deleted",
        N_("Your files from %(title)s are deleted soon"),
        N_("The archives of the course %(title)s are deleted soon."),
        _maybe(N_("They are kept until %(until_day)s.")),
        link="home",
    ),
)  # fmt: skip

EVENTS: dict[str, MailEvent] = {event.name: event for event in _ALL}
"""By name."""


def as_table() -> str:
    """The table of the documentation, in Markdown."""
    lines = ["| mail | to | when |", "|---|---|---|"]
    lines += [f"| `{event.name}` | {event.to} | {event.when} |" for event in _ALL]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(as_table(), end="")
