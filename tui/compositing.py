"""The parts of a screen put together, each drawn only where it is seen.

Textual has every part draw all of itself and cuts it at the edges of all others: those that only
hold others are drawn in full, to be covered in full, and most pieces are cut to what they were.
Here what is still uncovered is known of each line, from the front to the back; what is wholly
covered is not asked. A screen must look as Textual would have put it together.
"""

from collections.abc import Iterable, Sequence

from textual._compositor import ChopsUpdate, Compositor, LayoutUpdate
from textual.geometry import Region, Size
from textual.strip import Strip

# From (included) to (not included), in cells.
Span = tuple[int, int]
# By where it begins: where it ends, and what is seen there.
Line = dict[int, tuple[int, Strip]]


class FrontToBack(Compositor):
    """Puts together what Textual's own does, and draws what is seen alone."""

    def render_full_update(self, simplify: bool = False) -> LayoutUpdate:
        """All of the screen."""
        self._dirty_regions.clear()
        lines = self._lines(self.size)
        if simplify:
            joined = [[Strip.join(line).simplify().discard_meta()] for line in lines]
            return LayoutUpdate(joined, self.size.region)  # type: ignore[arg-type]
        return LayoutUpdate(lines, self.size.region)  # type: ignore[arg-type]

    def render_partial_update(self) -> ChopsUpdate | None:
        """What changed; None where nothing did."""
        screen = self.size.region
        regions = [each for each in self._dirty_regions if each.overlaps(screen)]
        self._dirty_regions.clear()
        spans = sorted(self._regions_to_spans(each.intersection(screen) for each in regions))
        if not spans:
            return None
        free: list[list[Span]] = [[] for _ in range(screen.height)]
        for y, x1, x2 in spans:
            free[y].append((x1, x2))
        lines = self._seen(free)
        chops = [{x: strip for x, (_, strip) in line.items()} for line in lines]
        ends = [[end for end, _ in line.values()] for line in lines]
        return ChopsUpdate(chops, spans, ends)

    def render_strips(self, size: Size | None = None) -> list[Strip]:
        """The lines of the screen, each in one piece."""
        return [Strip.join(line) for line in self._lines(size or self.size)]

    def _lines(self, size: Size) -> list[list[Strip]]:
        whole = self._seen([[(0, size.width)] for _ in range(size.height)])
        return [[strip for _, strip in line.values()] for line in whole]

    def _seen(self, free: Sequence[list[Span]]) -> list[Line]:
        """What is seen in these spans of each line, which are all taken then, from the left."""
        seen: list[Line] = [{} for _ in free]
        screen = Region(0, 0, self.size.width, len(free))
        for widget, (region, clip) in self.visible_widgets.items():
            x, y, width, height = region.intersection(clip).intersection(screen)
            right = x + width
            wanted = [line for line in range(y, y + height) if _meet(free[line], x, right)]
            if not wanted:
                continue
            first = wanted[0]
            part = Region(x - region.x, first - region.y, width, wanted[-1] + 1 - first)
            strips = widget.render_lines(part)
            for line in wanted:
                _take(free[line], x, right, strips[line - first], seen[line])
        return [dict(sorted(line.items())) for line in seen]


def _meet(free: Iterable[Span], x: int, right: int) -> bool:
    return any(begin < right and end > x for begin, end in free)


def _take(free: list[Span], x: int, right: int, strip: Strip, seen: Line) -> None:
    """Put what is seen of a strip, which goes from `x` to `right`, where it is free."""
    left: list[Span] = []
    for begin, end in free:
        first, last = max(begin, x), min(end, right)
        if first >= last:
            left.append((begin, end))
            continue
        whole = first == x and last == right
        seen[first] = (last, strip if whole else strip.crop(first - x, last - x))
        if begin < first:
            left.append((begin, first))
        if last < end:
            left.append((last, end))
    free[:] = left
