"""Struct: the value of every decoded message, an attribute bag with Kafka's names in snake_case.

It holds data and never behaviour. The fields of a message: ``python -m broker.protocol.fields``.
"""

import base64
import binascii
import difflib
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from broker.protocol.errors import InvalidValue

ZERO_UUID = uuid.UUID(int=0)


class Struct:
    """A message or a part of one: ``Struct(name="orders").name``.

    Attributes may be set freely; encoding checks the names against the schema. Two Structs are
    equal when all their fields are.
    """

    __slots__ = ("__dict__",)

    def __init__(self, **fields: Any) -> None:
        self.__dict__ = fields

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    else:

        def __getattr__(self, name: str) -> Any:
            near = difflib.get_close_matches(name, self.__dict__, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise AttributeError(f"this Struct has no field {name!r}{hint}")

    def get(self, name: str, default: Any = None) -> Any:
        """The field's value, or the default when the field is not set."""
        return self.__dict__.get(name, default)

    def replace(self, **fields: Any) -> "Struct":
        """A copy with some fields changed; nested values are shared."""
        return Struct(**{**self.__dict__, **fields})

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts and lists all the way down, in field order."""
        return {name: _plain(value) for name, value in self.__dict__.items()}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Struct):
            return NotImplemented
        return self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"Struct({inside})"


def _plain(value: Any) -> Any:
    if isinstance(value, Struct):
        return value.to_dict()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return value


def uuid_to_text(value: uuid.UUID) -> str:
    """Kafka's way to write an id: base64url of its 16 bytes without padding, 22 characters."""
    return base64.urlsafe_b64encode(value.bytes).decode("ascii").rstrip("=")


def uuid_from_text(text: str) -> uuid.UUID:
    """Read Kafka's 22 characters (or the usual form with dashes); raises InvalidValue."""
    try:
        if len(text) == 36:
            return uuid.UUID(text)
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return uuid.UUID(bytes=raw)
    except (binascii.Error, ValueError):
        raise InvalidValue(
            f"{text!r} is not an id: expected 22 characters of A-Z a-z 0-9 - _"
        ) from None
