"""Course stacks by Pulumi's Automation API. The portal and the command line call `stacks.CourseStacks`.

One operation is one child process tree (`operation`, whose body is `work`). Who may work on a course is a `lease`; the
engine is chosen in `engine` (the CLI, or `embedded`); `state` looks at the state store directly; `audit` holds it
against `reality`.
"""
