"""`dataclass`, made when it is first used: most of a program's dataclasses are not, in one run.

Making one takes the standard library half a millisecond, for it writes and compiles each method; a
command that reads one topic would pay for a hundred of them. Here the class gets its slots at once
and the rest, by the standard library itself, with the first instance or the first question about
its fields. The result must never differ from `dataclasses.dataclass`: what this module does not
know how to postpone is made at once.
"""

import dataclasses
import threading
from typing import TYPE_CHECKING, Any, ClassVar, Final, get_origin

if TYPE_CHECKING:
    from dataclasses import dataclass

__all__ = ["dataclass"]

_BEING_MADE: Final = threading.RLock()
_FIELDS: Final = "__dataclass_fields__"
_POSTPONED: Final = frozenset({"frozen", "slots", "kw_only", "order", "eq"})


def _postponing_dataclass(cls: Any = None, /, **options: Any) -> Any:
    """What `dataclass` is outside of the type checker."""
    if cls is None:
        return lambda cls: _postponing_dataclass(cls, **options)
    if not _can_wait(cls, options):
        return dataclasses.dataclass(cls, **options)
    return _postpone(cls, options)


def _can_wait(cls: type, options: dict[str, Any]) -> bool:
    own = vars(cls)
    plain = cls.__bases__ == (object,) and type(cls) is type
    alone = not {"__init__", "__slots__", "__getstate__", "__setstate__"} & own.keys()
    known = options.keys() <= _POSTPONED and options.get("slots") and options.get("eq", True)
    kinds = [str(each) for each in own.get("__annotations__", {}).values()]
    special = any("InitVar" in kind or "KW_ONLY" in kind for kind in kinds)
    return bool(plain and alone and known and not special)


def _is_class_variable(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.startswith(("ClassVar", "typing.ClassVar"))
    return annotation is ClassVar or get_origin(annotation) is ClassVar


def _postpone(cls: type, options: dict[str, Any]) -> type:
    namespace = dict(vars(cls))
    annotations = namespace.get("__annotations__", {})
    names = tuple(n for n, kind in annotations.items() if not _is_class_variable(kind))
    defaults = {name: namespace.pop(name) for name in names if name in namespace}
    for given in ("__dict__", "__weakref__"):
        namespace.pop(given, None)
    made: type = type(cls)(cls.__name__, cls.__bases__, {**namespace, "__slots__": names})
    made.__qualname__ = cls.__qualname__
    making = _Making(made, names, defaults, {**options, "slots": False})
    added: dict[str, Any] = {"__init__": making.first_init(), _FIELDS: making}
    if options.get("frozen"):
        # As the standard library does it: what is frozen is copied and pickled by its slots.
        added |= {"__getstate__": _state, "__setstate__": making.first_set_state()}
    for name, value in added.items():
        setattr(made, name, value)
    return made


class _Making:
    """What is left to do for a class. Stands for its fields until somebody asks for them."""

    def __init__(
        self, cls: type, names: tuple[str, ...], defaults: dict[str, Any], options: dict[str, Any]
    ) -> None:
        self.cls = cls
        self.names = names
        self.defaults = defaults
        self.options = options
        self.is_made = False

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        self.make()
        return getattr(self.cls, _FIELDS)

    def make(self) -> None:
        """Let the standard library make the class, once, whichever thread comes first.

        What makes others wait here, the `__init__` of before above all, goes last: until then no
        thread may have an instance of a class that is half made.
        """
        with _BEING_MADE:
            if self.is_made:
                return
            cls = self.cls
            init, described = self._init_and_doc()
            if cls.__doc__ is None:
                cls.__doc__ = described
            slots = {name: vars(cls)[name] for name in self.names}
            # The defaults lie where the slots do: there until the fields are read, then away.
            for name, default in self.defaults.items():
                setattr(cls, name, default)
            dataclasses.dataclass(cls, **self.options, init=False)
            for name, slot in slots.items():
                setattr(cls, name, slot)
            cls.__dataclass_params__.init = True  # type: ignore[attr-defined]
            if self.options.get("frozen"):
                cls.__setstate__ = _set_state  # type: ignore[attr-defined]
            cls.__init__ = init  # type: ignore[misc]
            self.is_made = True

    def _init_and_doc(self) -> tuple[Any, str | None]:
        """The `__init__` of a class with the same fields, and what that one says of itself.

        The standard library replaces no `__init__` that is there, and that of the class itself
        may not go away for a moment.
        """
        cls = self.cls
        taken = ("__module__", "__annotations__", "__post_init__", "__doc__")
        namespace = {name: vars(cls)[name] for name in taken if name in vars(cls)}
        twin = type(cls.__name__, (), {**namespace, **self.defaults})
        twin.__qualname__ = cls.__qualname__
        alike = {name: self.options[name] for name in ("frozen", "kw_only") if name in self.options}
        dataclasses.dataclass(twin, **alike, repr=False, eq=False)
        return vars(twin)["__init__"], twin.__doc__

    def first_init(self) -> Any:
        """An `__init__` that makes the class and hands over to its own."""

        def __init__(self: Any, /, *args: Any, **kwargs: Any) -> None:  # noqa: N807
            making.make()
            making.cls.__init__(self, *args, **kwargs)  # type: ignore[misc]

        making = self
        return __init__

    def first_set_state(self) -> Any:
        """A `__setstate__` that does the same: unpickling calls no `__init__`."""

        def __setstate__(self: Any, state: list[Any]) -> None:  # noqa: N807
            making.make()
            _set_state(self, state)

        making = self
        return __setstate__


def _state(self: Any) -> list[Any]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=False):
        object.__setattr__(self, field.name, value)


if not TYPE_CHECKING:
    dataclass = _postponing_dataclass
