"""Image files without their metadata, for files whose pixels are sound but whose metadata Pillow refuses.

Texts and colour profiles that are too long, wrong checksums of chunks that are not pixels, EXIF of odd types: none of
it is needed to read the pixels, except for the orientation, which is kept if it is sound.
"""

import struct
import zlib

PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
JPEG_START = b"\xff\xd8"
JPEG_SCAN = 0xDA
JPEG_METADATA = (*range(0xE1, 0xEE), 0xEF, 0xFE)  # of APP0 to APP15 all but JFIF and Adobe's, which tell the colours
TIFF_STARTS = {b"II*\0": "<", b"MM\0*": ">"}
# What describes pixels: sizes, bits, compression, strips, tiles, palette, orientation, extra samples, ...
TIFF_PIXELS = (
    *(254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 280, 281, 284, 292, 293, 317, 320),
    *(322, 323, 324, 325, 332, 338, 339, 347, 512, 513, 514, 529, 530, 531, 532),
)

SUBFILE_TYPE, THUMBNAIL_OR_MASK = 254, 0b101


class DamagedPart(ValueError):
    """A part of the file that is needed for its pixels is damaged."""


def without_metadata(content: bytes) -> bytes | None:
    """The file with only the parts that are needed for its pixels; None for formats that have no such parts.

    Raises DamagedPart if a part of a PNG that is needed has a wrong checksum.
    """
    if content.startswith(PNG_START):
        return _png(content)
    if content.startswith(JPEG_START):
        return _jpeg(content)
    order = TIFF_STARTS.get(content[:4])
    return _tiff(content, order) if order else None


def _png(content: bytes) -> bytes | None:
    """The chunks of a PNG that are pixels, and its orientation; None if it ends before all pixels are there."""
    kept, at, pixels = [PNG_START], len(PNG_START), False
    while at + 12 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4])
        chunk, kind = content[at:end], content[at + 4 : at + 8]
        if end > len(content):
            break
        sound = zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])
        if kind in PNG_PIXELS and not sound:
            raise DamagedPart(f"its chunk {kind.decode()} has a wrong checksum; get the file again from its source")
        if kind in PNG_PIXELS or (kind == b"eXIf" and sound):
            kept.append(chunk)
        pixels |= kind == b"IDAT"
        if kind == b"IEND":
            return b"".join(kept)
        at = end
    cut = content[at + 4 : at + 8]
    return b"".join([*kept, PNG_END]) if pixels and len(cut) == 4 and cut != b"IDAT" else None


def _jpeg(content: bytes) -> bytes | None:
    """A JPEG without its segments of metadata; None if its segments end before the pixels."""
    kept, at = [JPEG_START], len(JPEG_START)
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker, end = content[at + 1], at + 2 + int.from_bytes(content[at + 2 : at + 4])
        if marker == JPEG_SCAN:
            return b"".join([*kept, content[at:]])
        if marker == 0xFF:  # a byte of padding
            at += 1
            continue
        if marker not in JPEG_METADATA:
            kept.append(content[at:end])
        at = end
    return None


def _tiff(content: bytes, order: str) -> bytes | None:
    """A TIFF of which the first directory has only what describes pixels; it is put at the end of the file."""
    try:
        (start,) = struct.unpack_from(f"{order}I", content, 4)
        (count,) = struct.unpack_from(f"{order}H", content, start)
        entries = [content[start + 2 + 12 * i : start + 14 + 12 * i] for i in range(count)]
        kept = [entry for entry in entries if struct.unpack_from(f"{order}H", entry)[0] in TIFF_PIXELS]
    except struct.error:
        return None
    body = content + b"\0" * (len(content) % 2)  # a directory begins at an even byte
    directory = struct.pack(f"{order}H", len(kept)) + b"".join(kept) + bytes(4)
    return body[:4] + struct.pack(f"{order}I", len(body)) + body[8:] + directory


def has_pages(content: bytes) -> bool:
    """Whether a TIFF has a second page; thumbnails and masks of the first page are no pages."""
    order = TIFF_STARTS.get(content[:4])
    if not order:
        return False
    try:
        (start,) = struct.unpack_from(f"{order}I", content, 4)
        (count,) = struct.unpack_from(f"{order}H", content, start)
        (second,) = struct.unpack_from(f"{order}I", content, start + 2 + 12 * count)
        (count,) = struct.unpack_from(f"{order}H", content, second)
        entries = [struct.unpack_from(f"{order}HHII", content, second + 2 + 12 * i) for i in range(count)]
    except struct.error:
        return False
    kind = next((value for tag, _, _, value in entries if tag == SUBFILE_TYPE), 0)
    return second > 0 and not kind & THUMBNAIL_OR_MASK
