"""Course stacks by Pulumi's Automation API. The portal and the command line call `stacks.CourseStacks`.

One operation is one child process tree (`operation`, whose body is `work`); who may work on a course is a `lease`; the
engine is chosen in `engine` (the CLI, or `embedded`); the state store is looked at directly in `state`; `audit` holds it
against `reality`.
"""
