"""The programs in `bin/` of a bundle: shell scripts that start its Python through its own loader.

They need a POSIX sh and nothing else of the host, find their folder with links resolved (so that a
running broker stays on its release when `current` moves), and keep the host's libraries and locale
data out, which another C library wrote.
"""

_SCRIPT = """\
#!/bin/sh
here=$(CDPATH= cd -P -- "${{0%/*}}/.." && pwd -P) || exit 1
unset LD_PRELOAD LD_LIBRARY_PATH
export LC_ALL=C
exec "$here/lib/{loader}" --inhibit-cache --library-path "$here/lib" \\
  --argv0 "$here/bin/python3" "$here/bin/python{minor}" {words}"$@"
"""
# -I: no variable of the environment and no folder of the user counts; -S: nothing to look for.
_MODULE = "-I -S -X utf8 -m {module} "


def launchers(loader: str, minor: str) -> dict[str, str]:
    """File name to content."""

    def script(words: str) -> str:
        return _SCRIPT.format(loader=loader, minor=minor, words=words)

    return {
        "logd": script(_MODULE.format(module="broker")),
        "supervise": script(_MODULE.format(module="clusters.supervisor")),
        "python3": script(""),
    }
