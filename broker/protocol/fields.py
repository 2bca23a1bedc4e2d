"""Prints the fields of a message: ``python -m broker.protocol.fields FETCH [VERSION]``.

Without a name it lists every API and data structure with its versions. Only reads the schema.
"""

import sys
from difflib import get_close_matches

from broker.protocol.api_keys import ApiKey
from broker.protocol.codec import describe, describe_data, supported_versions
from broker.protocol.schema import api_keys, data_names


def text(arguments: list[str]) -> str:
    """What to print for the command line's arguments; raises SystemExit for a wrong one."""
    if not arguments:
        apis = [
            f"{int(key):3} {key.name} {'-'.join(map(str, supported_versions(key)))}"
            for key in api_keys()
        ]
        return "\n".join([*apis, *(f"    {name}" for name in data_names())])
    name = arguments[0]
    version = int(arguments[1]) if len(arguments) > 1 else None
    if name.lower() in data_names():
        return describe_data(name.lower(), version)
    if name.isdigit() and int(name) in ApiKey.__members__.values():
        return describe(int(name), version)
    if name.upper() not in ApiKey.__members__:
        near = get_close_matches(name.upper(), ApiKey.__members__, n=1)
        raise SystemExit(f"no API is called {name!r}" + (f"; try {near[0]}" if near else ""))
    return describe(ApiKey[name.upper()], version)


if __name__ == "__main__":
    sys.stdout.write(text(sys.argv[1:]) + "\n")
