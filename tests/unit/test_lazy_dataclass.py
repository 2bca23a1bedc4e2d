"""A postponed dataclass is the standard library's: the same answers, errors, copies and threads."""

import copy
import dataclasses
import inspect
import pickle
import sys
import threading
from collections.abc import Iterator
from dataclasses import InitVar, field
from typing import Any, ClassVar

import pytest

from broker.protocol.lazy_dataclass import dataclass

NOT_MADE = "_Making"


def is_waiting(cls: type) -> bool:
    return type(vars(cls).get("__dataclass_fields__")).__name__ == NOT_MADE


@dataclass(frozen=True, slots=True, kw_only=True)
class Pickled:
    """At the top of a module, as pickle wants it."""

    kind: ClassVar[int] = 7
    name: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unpickled:
    """Its first instance comes out of a pickle."""

    name: str


def shapes(make: Any) -> list[tuple[type, tuple[Any, ...], dict[str, Any]]]:
    """Classes made by `make`, each with arguments for one instance."""

    @make(frozen=True, slots=True)
    class Frozen:
        name: str
        size: int = 3
        parts: list[int] = field(default_factory=list, compare=False)

    @make(slots=True)
    class Mutable:
        name: str
        size: int = field(default=4, repr=False)

    @make(frozen=True, slots=True, kw_only=True, order=True)
    class Ordered:
        size: int = 1
        name: str

    @make(frozen=True, slots=True)
    class Checked:
        limit: ClassVar[int] = 10
        size: int
        double: int = field(init=False, default=0)

        def __post_init__(self) -> None:
            if self.size > self.limit:
                raise ValueError("too large")
            object.__setattr__(self, "double", self.size * 2)

        @property
        def half(self) -> float:
            return self.size / 2

    @make(frozen=True, slots=True, kw_only=True)
    class Empty:
        """Nothing."""

    @make(frozen=True, slots=True)
    class SameName:
        name: str
        note: str = ""

        def __eq__(self, other: object) -> bool:
            return isinstance(other, SameName) and other.name == self.name

        def __hash__(self) -> int:
            return hash(self.name)

        def __repr__(self) -> str:
            return f"<{self.name}>"

    @make(slots=True)
    class Given:
        name: str
        start: InitVar[int] = 5

    return [
        (Frozen, ("a",), {}),
        (Mutable, ("a",), {"size": 9}),
        (Ordered, (), {"name": "n"}),
        (Checked, (4,), {}),
        (Empty, (), {}),
        (SameName, ("a",), {"note": "x"}),
        (Given, ("a",), {}),
    ]


CASES = list(zip(shapes(dataclass), shapes(dataclasses.dataclass), strict=True))


@pytest.mark.parametrize(("mine", "theirs"), CASES, ids=lambda case: case[0].__name__)
def test_it_is_what_the_standard_library_makes(mine, theirs):
    (cls, args, kwargs), (other, _, _) = mine, theirs
    one, two, reference = cls(*args, **kwargs), cls(*args, **kwargs), other(*args, **kwargs)
    assert repr(one) == repr(reference)
    assert one == two
    assert one != reference
    assert (one.__hash__ is None) == (reference.__hash__ is None)
    if one.__hash__ is not None and cls.__name__ != "Frozen":
        assert hash(one) == hash(two) == hash(reference)
    assert not hasattr(one, "__dict__")
    assert cls.__slots__ == other.__slots__
    assert cls.__match_args__ == other.__match_args__
    assert str(inspect.signature(cls)) == str(inspect.signature(other))
    if cls.__name__ != "Given":
        assert dataclasses.asdict(one) == dataclasses.asdict(reference)
        assert dataclasses.replace(one) == one
    assert copy.copy(one) == one
    assert copy.deepcopy(one) == one
    mine_fields = [(f.name, f.repr, f.compare, f.kw_only) for f in dataclasses.fields(cls)]
    assert mine_fields == [
        (f.name, f.repr, f.compare, f.kw_only) for f in dataclasses.fields(other)
    ]
    assert cls.__qualname__ == other.__qualname__
    assert cls.__module__ == other.__module__


@pytest.mark.parametrize(("mine", "theirs"), CASES, ids=lambda case: case[0].__name__)
def test_it_refuses_what_the_standard_library_refuses(mine, theirs):
    for wrong in ({"unknown": 1}, {"name": 1, "size": 2, "more": 3}):
        told = []
        for cls, _, _ in (mine, theirs):
            with pytest.raises(TypeError) as refused:
                cls(**wrong)
            told.append(str(refused.value))
        assert told[0] == told[1]


@pytest.mark.parametrize(("mine", "theirs"), CASES, ids=lambda case: case[0].__name__)
def test_what_is_frozen_stays_so_and_nothing_takes_names_of_no_field(mine, theirs):
    cls, args, kwargs = mine
    for name in [*cls.__slots__, "unknown"]:
        for one in (cls(*args, **kwargs), theirs[0](*args, **kwargs)):
            if hasattr(one, "__setstate__"):
                # The standard library's own slots class says TypeError of a name of no field.
                with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
                    setattr(one, name, 1)
            elif name == "unknown":
                with pytest.raises(AttributeError):
                    setattr(one, name, 1)
            else:
                setattr(one, name, 1)
                assert getattr(one, name) == 1


def test_the_work_waits_for_the_first_instance():
    @dataclass(frozen=True, slots=True)
    class Point:
        x: int
        y: int = 2

    assert is_waiting(Point)
    assert Point(1) == Point(1, 2)
    assert not is_waiting(Point)


def test_a_question_about_the_fields_is_answered_before_the_first_instance():
    @dataclass(frozen=True, slots=True)
    class Point:
        x: int
        y: int = field(default=2, metadata={"unit": "m"})

    assert dataclasses.is_dataclass(Point)
    assert [each.name for each in dataclasses.fields(Point)] == ["x", "y"]
    assert dataclasses.fields(Point)[1].metadata["unit"] == "m"
    assert Point(1).y == 2


def test_a_dataclass_may_be_derived_from_one_that_waits():
    @dataclass(frozen=True, slots=True)
    class Base:
        x: int

    @dataclass(frozen=True, slots=True)
    class Derived(Base):
        y: int = 5

    class Plain(Base):
        def __init__(self) -> None:
            super().__init__(3)

    assert Derived(1) == Derived(1, 5)
    assert Plain().x == 3


def test_the_first_instance_may_come_out_of_a_pickle():
    assert is_waiting(Unpickled)
    state = pickle.dumps(Pickled(name="a", tags=("b",)))
    assert pickle.loads(state) == Pickled(name="a", tags=("b",))
    raw = pickle.dumps(Pickled(name="a")).replace(b"Pickled", b"Unpickled")
    assert b"Unpickled" in raw
    waiting = Unpickled.__new__(Unpickled)
    waiting.__setstate__(["a"])
    assert waiting == Unpickled("a")
    assert not is_waiting(Unpickled)


@pytest.fixture
def threads_that_change_often() -> Iterator[None]:
    """Every microsecond: what is half made for a moment is then met by another thread."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("threads_that_change_often")
def test_threads_that_come_together_make_it_once():
    for _ in range(20):

        @dataclass(frozen=True, slots=True)
        class Point:
            x: int
            y: int = 2

        barrier = threading.Barrier(4)
        seen: list[Any] = []

        def one(barrier=barrier, cls=Point, seen=seen) -> None:
            barrier.wait(60)
            seen.append(cls(1))

        threads = [threading.Thread(target=one) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert [(each.x, each.y) for each in seen] == [(1, 2)] * 4


def test_a_class_that_cannot_wait_is_made_at_once():
    @dataclass
    class Open:
        x: int = 1

    assert not is_waiting(Open)
    assert Open().x == 1
    assert Open.x == 1
