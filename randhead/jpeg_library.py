"""simplejpeg, which decodes a JPEG to the bytes that Pillow gives, in less than half of the time; None without it.

It is a requirement of the package, but is not there for every platform, nor on machines that only have what they came
with.  Pillow decodes then.
"""

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

__all__ = ["simplejpeg"]
