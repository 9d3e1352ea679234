"""The bytes of a segment of a log: one line per record, `crc32 json`, append-only, owned by the process that made it.

Receipts are kept so, and events that were acknowledged and have not landed yet.

A process never appends to a segment that another one began, so a torn last line (power loss, kill -9 while writing) belongs
to what nobody was told is kept, and is passed over. A wrong checksum anywhere else is an IntegrityError.

A line may be packed, `crc32 ^number squeezed`: a frame of Zstandard (RFC 8878) with the first record as its dictionary, since
records of one process are much alike. The checksum is over the number, the record as it was, and the squeezed bytes. Earlier
versions wrote `crc32 ~number squeezed` with deflate (RFC 1951); that is still read.

Between two flushes may stand a mark, `crc32 #count`: so many records lay on the disk before it was written. Whoever finds fewer
in front of it misses some that were acknowledged. Segments of earlier versions have none.
"""

import errno
import fcntl
import os
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import zstandard

from counterfoil.errors import IntegrityError
from counterfoil.files import sync

CRC_DIGITS = 8
ROOM = 1 << 16  # bytes that are written ahead
TORN = bytes(16)  # in a line: it was never whole; one byte that was altered looks otherwise
PACKED, DEFLATED, MARK = b"^", b"~", b"#"  # no JSON begins so
SECTOR = 512  # bytes that a disk has or has not
LEAST = 1024  # bytes of a record that is worth packing
LEVEL = 3  # of Zstandard: 1 takes as long for some more, 4 twice as long for as much
DICTIONARY = 1 << 15  # bytes of the first record, its last ones, as far as deflate looks back
RAW = -15  # deflate without a head
MOST = 1 << 26  # bytes of a record: what says that it is larger was altered
BREAK, NOTHING = b"\n", b"\0"
# Neither may lie within a line; the escape itself is the first.
ESCAPED = ((b"\x1b\1", b"\x1b"), (b"\x1b\2", BREAK), (b"\x1b\3", NOTHING))
SEALED = ".parquet"  # how the file of a segment that is done with ends


def line(payload: bytes) -> bytes:
    """Return the payload, which holds no line break, as a line with its checksum."""
    return b"%08x %b\n" % (zlib.crc32(payload), payload)


def mark(count: int) -> bytes:
    """Return the line that says how many records the disk has in front of it."""
    return line(b"%b%d" % (MARK, count))


class Packer:
    """Pack records by the first one of their segment. For one thread at a time."""

    def __init__(self, first: bytes) -> None:
        like = _dictionary(first)
        like.precompute_compress(level=LEVEL)
        self._zstd = zstandard.ZstdCompressor(LEVEL, dict_data=like, write_dict_id=False)

    def line(self, payload: bytes, number: int) -> bytes:
        """Return the record as a packed line; as a plain one where it is small."""
        if len(payload) < LEAST:
            return line(payload)
        squeezed = self._zstd.compress(payload)
        for code, byte in ESCAPED:
            squeezed = squeezed.replace(byte, code)
        return b"%08x %b%d %b\n" % (_both(number, payload, squeezed), PACKED, number, squeezed)


class Unpacker:
    """Read what was packed by the first record of a segment. For one thread at a time."""

    def __init__(self, first: bytes) -> None:
        self._first = first
        self._zstd: zstandard.ZstdDecompressor | None = None

    def record(self, packed: bytes) -> tuple[bytes, int]:
        """Return the record of a packed line and its checksum, whatever comes out where that was altered: then -1, mostly."""
        number, _, squeezed = packed[len(PACKED) :].partition(b" ")
        frame = squeezed
        for code, byte in reversed(ESCAPED):
            frame = frame.replace(code, byte)
        try:
            payload = self._inflated(frame) if packed.startswith(DEFLATED) else self._expanded(frame)
            return payload, _both(int(number), payload, squeezed)
        except (zlib.error, zstandard.ZstdError, ValueError):
            return b"", -1

    def _expanded(self, frame: bytes) -> bytes:
        if not 0 <= zstandard.frame_content_size(frame) <= MOST:
            raise ValueError("no record is as large")
        if self._zstd is None:
            self._zstd = zstandard.ZstdDecompressor(dict_data=_dictionary(self._first))
        return self._zstd.decompress(frame)

    def _inflated(self, frame: bytes) -> bytes:
        inflate = zlib.decompressobj(RAW, zdict=self._first[-DICTIONARY:])
        return inflate.decompress(frame) + inflate.flush()


def _dictionary(first: bytes) -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(first[-DICTIONARY:], dict_type=zstandard.DICT_TYPE_RAWCONTENT)


def _both(number: int, payload: bytes, squeezed: bytes) -> int:
    """Return the checksum of a packed line, so that no byte of it can be another."""
    return zlib.crc32(squeezed, zlib.crc32(payload, number))


def is_packed(text: bytes) -> bool:
    """Say whether a line is a packed one."""
    return text[CRC_DIGITS + 1 : CRC_DIGITS + 2] in (PACKED, DEFLATED)


def _first(path: Path) -> bytes | None:
    """Return the first record of a segment, which is never packed; of a line that is, nothing will come out.

    None when it was torn.
    """
    with path.open("rb") as file:
        text = file.readline().removesuffix(BREAK)
    if _torn(text, 0):
        return None
    return b"" if is_packed(text) else payload_of(text, path, 1)


def payload_of(text: bytes, path: Path, number: int, unpacker: Unpacker | None = None) -> bytes:
    """Return the payload of a whole line; IntegrityError names the file and the line when the checksum is wrong.

    `unpacker` is that of the file's first payload; without it, a packed line has that read.
    """
    crc, _, payload = text.partition(b" ")
    if is_packed(text):
        payload, right = (unpacker or Unpacker(_first(path) or b"")).record(payload)
    else:
        right = zlib.crc32(payload)
    if len(crc) != CRC_DIGITS or right < 0 or crc != b"%08x" % right:
        raise IntegrityError(
            f"{path} line {number} has the wrong checksum: what is there was altered; restore the file from a backup"
        )
    return payload


def create(path: Path) -> int:
    """Create a new segment durably and return its file descriptor; FileExistsError when it is there already.

    While the descriptor is open nobody takes the segment for one that is done with.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.with_suffix(SEALED).exists():
        raise FileExistsError(errno.EEXIST, "this segment was sealed", str(path))
    half = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(half, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # before it has its name
        try:
            os.link(half, path)
        finally:
            half.unlink()
        for folder in (path.parent, path.parent.parent):
            sync(folder)
    except OSError:  # on a full disk it comes again and again
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def done_with(path: Path, quiet_seconds: float) -> Iterator[bool]:
    """Say whether nobody writes to the segment any more: no process holds it, and it has been quiet for a while.

    For a service that was built before there were locks takes none. Within the block nobody else takes the segment for done with.
    False too when it is gone.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        quiet = time.time() - os.fstat(descriptor).st_mtime >= quiet_seconds
        yield quiet and _taken(descriptor) and path.exists()
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Ahead:
    """Append to a new segment whose next bytes lie there as zeros already, so that a flush has no new length to write down.

    That halves what a flush costs. Zeros at the end have no line break, so whoever reads passes them over as a torn line; they
    are cut off when the segment is done with. A line that still holds zeros when power comes back was never whole either: of what
    had not been flushed the disk may have any part.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self._at, self._end = descriptor, 0, 0
        self._count = 0  # records that the disk has for certain
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~os.O_APPEND)  # it is written at places

    def append(self, lines: bytes) -> None:
        """Write whole lines, after a mark of how many the disk has, and return once it has these."""
        count = lines.count(BREAK)
        if self._count:
            lines = mark(self._count) + lines
        if self._at + len(lines) > self._end:
            room = bytes(len(lines) + ROOM)
            write_at(self.descriptor, room, self._at)
            self._end = self._at + len(room)
        write_at(self.descriptor, lines, self._at)
        os.fdatasync(self.descriptor)
        self._at += len(lines)
        self._count += count

    @property
    def empty(self) -> bool:
        """Whether nothing was ever written whole."""
        return self._at == 0

    def close(self) -> None:
        """Cut off what was written ahead, or was not written whole, set a last mark, and close."""
        with suppress(OSError):  # zeros that stay are no harm, nor is half a mark
            os.ftruncate(self.descriptor, self._at)
            write_at(self.descriptor, mark(self._count) if self._count else b"", self._at)
        with suppress(OSError):
            os.close(self.descriptor)


def write_at(descriptor: int, data: bytes, at: int) -> None:
    """Write all of it at that place."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written


def append(descriptor: int, lines: bytes) -> None:
    """Append whole lines and return once the disk has them."""
    view = memoryview(lines)
    while view:
        view = view[os.write(descriptor, view) :]
    os.fdatasync(descriptor)


def find(
    path: Path, needle: bytes, number: int, right: Callable[[bytes], bool] = lambda payload: True
) -> bytes | None:
    """Return the first payload that holds `needle`, alone or packed under that number, and is `right`; or None.

    Needle and number are looked for in bytes that may be anything: in what another line says, or in what packing made of it.
    """
    for kind in (PACKED, DEFLATED):
        mark = b"%b%d " % (kind, number)
        for at, text in lines_with(path, b" " + mark):
            if text[CRC_DIGITS + 1 :].startswith(mark) and (first := _first(path)) is not None:
                payload = payload_of(text, path, at, Unpacker(first))
                if needle in payload and right(payload):
                    return payload
    for at, text in lines_with(path, needle):
        if not is_packed(text):
            payload = payload_of(text, path, at)
            if right(payload):
                return payload
    return None


def lines_with(path: Path, needle: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (line number, text without its break) for whole lines that hold `needle`; those that were torn are none."""
    try:
        view = (
            path.read_bytes()
        )  # not mapped: who reads a map of a file that its writer cuts off is killed by a signal
    except FileNotFoundError:
        return
    at = view.find(needle)
    while at >= 0:
        start, stop = view.rfind(BREAK, 0, at) + 1, view.find(BREAK, at)
        if stop < 0:
            return
        if not _torn(view[start:stop], start):
            yield view.count(BREAK, 0, start) + 1, view[start:stop]
        at = view.find(needle, stop)


def whole_lines(path: Path, start: int = 0) -> Iterator[tuple[int, int, bytes]]:
    """Yield (line number, place behind it, text without its break) of every whole line from a place on, but for marks.

    What was torn when power went is passed over; where that is the segment's first line, the packed ones as well: they were
    written in the same flush, so nobody was told of them either, and nothing can be made of them. IntegrityError at a mark that
    knows better: what is missing in front of it had been acknowledged.
    """
    at, held = start, 0
    torn: list[tuple[int, bytes]] = []
    with path.open("rb") as file:
        headless = start > 0 and _torn(file.readline(), 0)
        file.seek(start)
        for number, text in enumerate(file, start=1):
            if not text.endswith(BREAK):
                return
            begun, at, kind = at, at + len(text), text[CRC_DIGITS + 1 : CRC_DIGITS + 2]
            if _torn(text, begun):
                torn.append((begun, text))
                headless = headless or begun == 0
            elif kind == MARK:
                if not _sound(text[:-1], path, number):
                    yield (
                        number,
                        at,
                        text[:-1],
                    )  # whoever reads it is told of this line, and the others are read
                    continue
                said = _marked(text[:-1], path, number)
                if headless or (start == 0 and said != held):
                    if not _written_since(file.fileno(), torn):
                        raise _lost(path)
                    headless, held, torn = False, said, []
            elif not (headless and is_packed(text)):
                held += 1
                yield number, at, text[:-1]


def _sound(text: bytes, path: Path, number: int) -> bool:
    try:
        payload_of(text, path, number)
    except IntegrityError:
        return False
    return True


def _marked(text: bytes, path: Path, number: int) -> int:
    said = payload_of(text, path, number)[len(MARK) :]
    if not said.isdigit():
        raise IntegrityError(
            f"{path} line {number} is no mark: it was altered; restore the file from a backup"
        )
    return int(said)


def _written_since(descriptor: int, torn: list[tuple[int, bytes]]) -> bool:
    """Say whether what looked torn was being written while it was read, which looks alike."""
    return any(os.pread(descriptor, len(text), at) != text for at, text in torn)


def _lost(path: Path) -> IntegrityError:
    """Return the word for records that the segment's marks know of and that are not there: how many, and where they were."""
    held = known = there = at = last = 0
    torn: list[int] = []
    with path.open("rb") as file:
        for number, text in enumerate(file, start=1):
            kind = text[CRC_DIGITS + 1 : CRC_DIGITS + 2]
            if _torn(text, at):
                torn.append(number)
            elif kind == MARK:
                known, there, last = _marked(text.removesuffix(BREAK), path, number), held, number
            else:
                held += not (is_packed(text) and 1 in torn)
            at += len(text)
    if there > known:
        return IntegrityError(
            f"{path} holds {there:,} records before line {last}, where the disk had {known:,}: what is there was altered;"
            " restore the file from a backup"
        )
    lines = [number for number in torn if number < last]
    where = f"; torn: line {', '.join(map(str, lines[:5]))}{' and more' * (len(lines) > 5)}" if lines else ""
    packed = ", and by the first line the others were packed" if 1 in lines else ""
    return IntegrityError(
        f"{path} has lost what was acknowledged: the disk had {known:,} records before line {last}, and {there:,} of them can be"
        f" read{where}{packed}; restore the file from a backup"
    )


def _torn(text: bytes, at: int) -> bool:
    """Say whether a line at a place of its file was never whole: it has sectors of zeros, or begins in the end of one."""
    if TORN in text:
        return True
    zeros = len(text) - len(text.lstrip(NOTHING))
    return zeros > 0 and (at + zeros) % SECTOR == 0


def payloads(path: Path) -> Iterator[bytes]:
    """Yield the payload of every whole line, checked; what was torn when power went is passed over."""
    unpacker = None
    for number, _, text in whole_lines(path):
        payload = payload_of(text, path, number, unpacker)
        unpacker = unpacker or Unpacker(payload)
        yield payload


def count(path: Path) -> int:
    """Return the number of whole lines, as `payloads` has them."""
    return sum(1 for _ in whole_lines(path))


def mend(path: Path) -> None:
    """Cut off a torn last line, durably; for a segment that is done with."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        whole = size
        while whole:
            start = max(0, whole - (1 << 16))
            file.seek(start)
            at = file.read(whole - start).rfind(b"\n")
            whole = start + at + 1 if at >= 0 else start
            if at >= 0:
                break
        if whole < size:
            file.truncate(whole)
            os.fsync(file.fileno())
