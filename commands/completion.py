"""The command `completion`: a script for the shell that completes commands, tools, options and files.

The options are read from the commands' own help when the script is made, so there is no second list of them.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import sys
from collections.abc import Sequence

from commands.common import EXIT_OK, parser, run

EPILOG = """\
examples:
  mld completion bash >> ~/.bashrc
  mld completion zsh >> ~/.zshrc          (after compinit)"""
SCRIPT = """\
_mld() {
  local word=${COMP_WORDS[COMP_CWORD]} words options=""
  local place="${COMP_WORDS[1]}"
  [[ $place == prepare ]] && place="prepare ${COMP_WORDS[2]}"
  if (( COMP_CWORD == 1 )); then words="@COMMANDS@"
  elif (( COMP_CWORD == 2 )) && [[ ${COMP_WORDS[1]} == prepare ]]; then words="@TOOLS@"
  else
    case "$place" in
@CASES@
    esac
    words=$options
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
  [[ $word == -* ]] || (( COMP_CWORD == 1 )) || COMPREPLY+=($(compgen -f -- "$word"))
}
complete -o filenames -F _mld mld
"""


def main(arguments: Sequence[str]) -> int:
    command = parser("completion", "Print a script that completes `mld` in a shell.", EPILOG)
    command.add_argument("shell", choices=("bash", "zsh"), help="the shell it is for")
    options = command.parse_args(arguments)
    print(script(options.shell), end="")
    return EXIT_OK


def script(shell: str) -> str:
    """The text of the script. shell: "bash" or "zsh"."""
    from commands.main import COMMANDS, module_of, tools

    modules = {name: module_of(name) for name in COMMANDS if name != "prepare"}
    modules |= {f"prepare {name}": f"prepare.{name}" for name in tools()}
    cases = "\n".join(f'      "{name}") options="{" ".join(_options(module))}" ;;' for name, module in modules.items())
    text = SCRIPT.replace("@COMMANDS@", " ".join(COMMANDS)).replace("@TOOLS@", " ".join(tools()))
    bridge = "autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else ""
    return bridge + text.replace("@CASES@", cases)


def _options(module: str) -> list[str]:
    """The long options in the help of a command."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        importlib.import_module(module).main(["--help"])
    return sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", said.getvalue())))


if __name__ == "__main__":
    sys.exit(run(main))
