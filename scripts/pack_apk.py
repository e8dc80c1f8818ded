"""Adds files to an APK as aapt2 links it, each stored entry at a multiple of 16 KiB: RAW.APK FOLDER OUT.APK.

As the Android Gradle plugin does, it says so in an extra field, by which apksigner keeps the alignment.
"""

import pathlib
import struct
import sys
import zipfile

ALIGNMENT = 16384
FIELD = 0xD935

raw, folder, out = sys.argv[1:]
folder = pathlib.Path(folder)
with zipfile.ZipFile(raw) as linked, zipfile.ZipFile(out, "w") as apk:
    entries = [(e.filename, e.compress_type, linked.read(e)) for e in linked.infolist()]
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            entries.append((name, zipfile.ZIP_STORED, path.read_bytes()))
    for name, compression, content in entries:
        entry = zipfile.ZipInfo(name, (1981, 1, 1, 1, 1, 2))
        entry.compress_type = compression
        if compression == zipfile.ZIP_STORED:
            begins = apk.fp.tell() + 30 + len(name.encode()) + 6
            padding = -begins % ALIGNMENT
            entry.extra = struct.pack("<HHH", FIELD, 2 + padding, ALIGNMENT) + bytes(padding)
        apk.writestr(entry, content)
