"""`python -m portal`: the command `jhaas`, for processes that are started without it on their PATH."""

from portal.cli import main

main()
