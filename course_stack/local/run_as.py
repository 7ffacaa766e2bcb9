"""Give up root, then become the command: `python -I run_as.py UID COMMAND...`.

The account needs no entry in the machine's user list. Run as a file, so that it depends on the standard library alone.
"""

import os
import sys


def main() -> None:
    uid = int(sys.argv[1])
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - replacing this process is the point


if __name__ == "__main__":
    main()
