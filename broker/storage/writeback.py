"""Hands a file's pages to the disk a few at a time, before a sync asks for all of them at once.

One sync of hundreds of megabytes fills the disk's queue, and whoever appends to the same file
meanwhile waits behind it, with a lock on the last page or on the journal: a tenth of a second and
more. Piece by piece the same bytes take as long and leave room. Must never stand for a sync (what
it wrote is durable only after one), nor hide an error: the kernel tells each descriptor once.
"""

import ctypes
import errno
import functools
import os
from collections.abc import Callable

PIECE_BYTES = 8 << 20
# A writer faster than the disk would be followed for ever.
ROUNDS_MAX = 4
FILES_REMEMBERED_MAX = 4096
# sync_file_range(2): wait for pages on their way, start all others, wait for those.
_WAIT_BEFORE, _WRITE, _WAIT_AFTER = 1, 2, 4
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.ESPIPE, errno.EOPNOTSUPP})

WriteRange = Callable[[int, int, int], None]


class WriteBack:
    """Remembers how far each file was written out, so that a sync of little costs as ever.

    ``write_range`` (descriptor, position, size in bytes) blocks and raises OSError; None where the
    system has no such call. Any thread may use it.
    """

    def __init__(self, write_range: WriteRange | None) -> None:
        self._write_range = write_range
        # By device and inode. Only a hint: after a truncation, or for a file that got the inode of
        # a deleted one, the sync that follows has more to do, and nothing else.
        self._positions: dict[tuple[int, int], int] = {}

    def run(self, descriptor: int) -> None:
        """Write out all but the last piece of a file; what is appended meanwhile, too, for a while.

        Raises OSError when pages could not be written: a sync after it would not say so again. Does
        nothing for a small file, and where the system cannot do it.
        """
        if self._write_range is None:
            return
        status = os.fstat(descriptor)
        if status.st_size < 2 * PIECE_BYTES:
            return
        key = status.st_dev, status.st_ino
        position = self._positions.get(key, 0)
        if position > status.st_size:
            position = 0
        try:
            for _ in range(ROUNDS_MAX):
                end = os.fstat(descriptor).st_size - PIECE_BYTES
                if end <= position:
                    break
                while position < end:
                    self._write_range(descriptor, position, PIECE_BYTES)
                    position += PIECE_BYTES
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            self._write_range = None
            return
        if len(self._positions) >= FILES_REMEMBERED_MAX:
            self._positions.clear()
        self._positions[key] = position


@functools.cache
def shared() -> WriteBack:
    """The one of this process, by sync_file_range(2), which lets other threads run meanwhile."""
    try:
        function = ctypes.CDLL(None, use_errno=True).sync_file_range
    except (OSError, AttributeError):
        return WriteBack(None)
    function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    function.restype = ctypes.c_int

    def write_range(descriptor: int, position: int, size: int) -> None:
        if function(descriptor, position, size, _WAIT_BEFORE | _WRITE | _WAIT_AFTER) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    return WriteBack(write_range)
