"""Compiles Python sources for a bundle, as a program: `python compiling.py LIST OUTPUT`.

Run by the interpreter that is shipped, one process for a share of the files. LIST has lines
`SOURCE<tab>NAME`; the compiled file of NAME is OUTPUT/NAME.pyc. Compiled files are never checked
against their source on the hosts (unchecked hash): nothing there has to be read twice or written.
Standard library only; must not import anything of this project.
"""

import os
import py_compile
import sys


def main() -> int:
    """Compile every file of a list; the first that does not compile ends it."""
    listing, output = sys.argv[1:]
    with open(listing, encoding="utf-8") as lines:
        pairs = [line.rstrip("\n").split("\t") for line in lines]
    for source, name in pairs:
        compiled = f"{output}/{name}.pyc"
        os.makedirs(os.path.dirname(compiled), exist_ok=True)
        try:
            py_compile.compile(
                source,
                cfile=compiled,
                dfile=name,
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
        except py_compile.PyCompileError as error:
            sys.stderr.write(f"{source}: {error.exc_value}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
