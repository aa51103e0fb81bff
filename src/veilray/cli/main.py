"""The `veilray` command: one grammar, one file per command, errors without tracebacks.

Exit codes: 0 done; 1 done with quarantine or a failed check; 2 wrong use; 3 refused.
"""

from __future__ import annotations

import os
import sys

import typer

from veilray.cli import attack, audit, card, check, cloud, demo, features, fit, keys, ledger, obfuscate, release, study
from veilray.cli.interrupts import tidy_when_terminated
from veilray.cli.output import STATUS
from veilray.errors import Refused

__all__ = ["app", "main"]

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
app.command("study")(study.study)
app.add_typer(keys.app, name="keys")
app.command("obfuscate")(obfuscate.obfuscate)
app.command("cloud-train")(cloud.cloud_train)
app.command("cloud-predict")(cloud.cloud_predict)
app.command("attack")(attack.attack)

_WRONG_USE, _REFUSED, _INTERRUPTED = 2, 3, 130
_CONTINUE = "interrupted; what was finished is kept, and --resume continues where a command has it"


def _exit_with(code: int | None) -> None:
    raise typer.Exit(code or 0)


@app.callback(result_callback=_exit_with)
def veilray() -> None:
    """Release medical images for training, with a privacy claim that is stated, kept and measured."""


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        with tidy_when_terminated():
            app()
    except Refused as error:
        _end(f"refused: {error}", _REFUSED)
    except KeyboardInterrupt:
        _end(_CONTINUE, _INTERRUPTED)
    except SystemExit as ended:
        if ended.code == _INTERRUPTED:  # typer turns an interrupt into this code before it reaches us
            _end(_CONTINUE, _INTERRUPTED)
        raise
    except (ValueError, OSError, ImportError) as error:
        if os.environ.get("VEILRAY_DEBUG"):
            raise
        _end(str(error), _WRONG_USE)


def _end(message: str, code: int) -> None:
    STATUS.print(
        f"veilray: {message}",
        style="bold red" if code != _INTERRUPTED else "yellow",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    sys.exit(code)


if __name__ == "__main__":
    main()
