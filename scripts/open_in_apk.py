"""Opens a model inside an APK by descriptor and offset, through the C API: LIBRARY APK NAME."""

import ctypes
import os
import sys
import zipfile

library, apk, name = sys.argv[1:]
with zipfile.ZipFile(apk) as archive:
    entry = archive.getinfo(name)
assert entry.compress_type == zipfile.ZIP_STORED, f"{name} is compressed"
with open(apk, "rb") as file:
    file.seek(entry.header_offset + 26)
    lengths = file.read(4)
    # The data follows the local header, the name and the extra field.
    offset = entry.header_offset + 30 + int.from_bytes(lengths[:2], "little")
    offset += int.from_bytes(lengths[2:], "little")
    assert offset % 16384 == 0, f"{name} is at byte {offset}, not at a page of 16 KiB"
    c = ctypes.CDLL(library)
    c.attamba_model_open_fd.argtypes = (
        [ctypes.c_int32] + [ctypes.c_uint64] * 2 + [ctypes.c_void_p] * 2
    )
    model = ctypes.c_void_p()
    status = c.attamba_model_open_fd(file.fileno(), offset, entry.file_size, None, ctypes.byref(model))
assert status == 0, f"status {status}"
text = ctypes.create_string_buffer(256)
c.attamba_model_name.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
assert c.attamba_model_name(model, text, len(text), None) == 0
c.attamba_model_close.argtypes = [ctypes.c_void_p]
assert c.attamba_model_close(model) == 0
print(f"{os.path.basename(apk)}: {text.value.decode()} at byte {offset}")
