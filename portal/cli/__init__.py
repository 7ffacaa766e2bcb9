"""The command `jhaas`: thin commands over `automation` and the local services; every rule lives below them."""

from __future__ import annotations

import sys

import typer
from typer.exceptions import TyperException

from portal.cli import audit, checkout, cluster, course, courses, demo, platform, portal, schema, services
from portal.cli.screen import complain, err

app = typer.Typer(
    name="jhaas",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(services.app, name="services")
app.add_typer(course.app, name="course")
app.add_typer(courses.app, name="courses")
app.add_typer(cluster.app, name="cluster")
app.add_typer(portal.app, name="portal")
app.add_typer(platform.app, name="platform")
course.app.command(name="checkout")(checkout.checkout)
app.command(name="audit")(audit.audit)
app.command(name="schema")(schema.schema)
app.command(name="demo")(demo.demo)


@app.callback()
def before_any_command() -> None:
    """JupyterHub as a Service: one JupyterHub per course, created and destroyed on time."""
    from automation.settings import check_environment
    from portal import config  # noqa: F401 - it makes the portal's settings known

    check_environment()


def main() -> None:
    """Run the command line; exit code 2 for bad input, 1 for anything else that failed, 130 for Ctrl-C."""
    try:
        code = app(standalone_mode=False)
    except typer.Abort:
        sys.exit(130)
    except TyperException as error:
        if show := getattr(error, "show", None):  # how the command is used; the class of these errors is not public
            show()
        else:
            err.print(str(error), style="red", markup=False)
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 - the one place that turns failures into words; others are raised again
        sys.exit(complain(error))
    sys.exit(code if isinstance(code, int) else 0)
