"""The `veilray` command: one grammar, one file per command, errors without tracebacks.

Exit codes: 0 done; 1 done with quarantine or a failed check; 2 wrong use; 3 refused.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer

from veilray.cli import attack, audit, card, check, cloud, demo, features, fit, keys, ledger, obfuscate, release
from veilray.cli.interrupts import tidy_when_terminated
from veilray.cli.output import OUT, STATUS
from veilray.errors import Refused

__all__ = ["app", "main", "run"]

app = typer.Typer(
    name="veilray",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(fit.app, name="fit")
app.add_typer(ledger.app, name="ledger")
app.command("release")(release.release)
app.command("check")(check.check)
app.command("card")(card.card)
app.command("features")(features.features)
app.command("demo")(demo.demo)
app.command("audit")(audit.audit)
app.add_typer(keys.app, name="keys")
app.command("obfuscate")(obfuscate.obfuscate)
app.command("cloud-train")(cloud.cloud_train)
app.command("cloud-predict")(cloud.cloud_predict)
app.command("attack")(attack.attack)

_WRONG_USE, _REFUSED, _INTERRUPTED = 2, 3, 130
_CONTINUE = "interrupted; what was finished is kept, and --resume continues where a command has it"


def _exit_with(code: int | None, **_: object) -> None:
    raise typer.Exit(code or 0)


def _show_version(asked: bool) -> None:
    """One line, from what is installed: nothing heavy is imported for it."""
    if asked:
        OUT.print(
            f"veilray {version('veilray')} (torch {version('torch')}, Python {platform.python_version()})",
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit


@app.callback(result_callback=_exit_with)
def veilray(
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Release medical images for training, with a privacy claim that is stated, kept and measured."""


_CommandLineError: type[Any] = typer.BadParameter.__mro__[2]
"""What typer raises for options that it does not know or cannot read; typer moved it from one module to another."""


def main() -> None:
    """Run the command line and exit with its code."""
    run(app, "veilray")


def run(application: typer.Typer, name: str) -> None:
    """Run a command line of this grammar by its name, and exit with its code: `veilray`, and what is built on it.

    A command returns its exit code. An error is one sentence on stderr that begins with the name.
    """
    try:
        with tidy_when_terminated():
            code = application(prog_name=name, standalone_mode=False)
    except Refused as error:
        _end(name, f"refused: {error}", _REFUSED)
    except KeyboardInterrupt:
        _end(name, _CONTINUE, _INTERRUPTED)
    except _CommandLineError as error:
        _end_wrong_use(name, error)
    except (ValueError, OSError, ImportError) as error:
        if os.environ.get("VEILRAY_DEBUG"):
            raise
        _end(name, _sentence(error), _WRONG_USE)
    else:
        if code == _INTERRUPTED:  # typer turns an interrupt into this code before it reaches us
            _end(name, _CONTINUE, _INTERRUPTED)
        sys.exit(code)


def _end_wrong_use(name: str, error: Any) -> None:
    """What is wrong with the words of the command, in one sentence, and where help is."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        sys.exit(_WRONG_USE)
    context = getattr(error, "ctx", None)
    cure = "" if context is None else f"; `{context.command_path} --help` lists what is allowed"
    _end(name, f"{error.format_message().rstrip('.')}{cure}", _WRONG_USE)


def _sentence(error: BaseException) -> str:
    """The message; of a file's check by pydantic, which would print a page, the first thing that is wrong."""
    if type(error).__module__.startswith("pydantic"):
        first = error.errors(include_url=False, include_input=False)[0]  # type: ignore[attr-defined]
        where = ".".join(map(str, first["loc"]))
        return f"{where + ': ' if where else ''}{first['msg']}"
    return str(error)


def _end(name: str, message: str, code: int) -> None:
    STATUS.print(
        f"{name}: {message}",
        style="bold red" if code != _INTERRUPTED else "yellow",
        highlight=False,
        soft_wrap=True,
    )
    sys.exit(code)


if __name__ == "__main__":
    main()
