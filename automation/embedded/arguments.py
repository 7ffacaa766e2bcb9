"""Reading a command line of the CLI: which options a command knows, and which of them this engine does not have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from automation.embedded.errors import EngineError, Unsupported

SHORT = {"s": "stack", "y": "yes", "p": "parallel", "m": "message", "f": "force", "j": "json", "a": "all"}
_EVERYWHERE = {"non-interactive": False, "color": True, "stack": True, "cwd": True, "emoji": False, "debug": False}


@dataclass(slots=True)
class Arguments:
    """Options by name (the last of each), those given more than once in order, and what is no option."""

    options: dict[str, str] = field(default_factory=dict)
    repeated: list[tuple[str, str]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def flag(self, name: str) -> bool:
        return self.options.get(name, "false") == "true"

    def number(self, name: str, default: int) -> int:
        text = self.options.get(name, str(default))
        if not text.isdecimal():
            raise EngineError(f'invalid argument {text!r} for "--{name}": it must be a whole number')
        return int(text)


def parse(args: Iterable[str], known: Mapping[str, bool]) -> Arguments:
    """`known` tells of each option whether it takes a value. Any other option is refused by name."""
    known = {**_EVERYWHERE, **known}
    found = Arguments()
    left = list(args)
    while left:
        arg = left.pop(0)
        if arg == "--":
            found.words += left
            break
        if not arg.startswith("-") or arg == "-":
            found.words.append(arg)
            continue
        name, equals, value = arg.lstrip("-").partition("=")
        if not arg.startswith("--"):
            name = SHORT.get(name, name)
        if name not in known:
            raise Unsupported(f"the option --{name}")
        if known[name] and not equals:
            if not left:
                raise EngineError(f"flag needs an argument: --{name}")
            value = left.pop(0)
        found.options[name] = value if known[name] or equals else "true"
        found.repeated.append((name, found.options[name]))
    return found
