"""A chat on a terminal: the command sys.argv[1] with the model sys.argv[2], which never ends an answer."""

import os
import pty
import select
import sys
import time

binary, model = sys.argv[1:]
child, terminal = pty.fork()
if child == 0:
    os.environ["TERM"] = "xterm"
    os.execv(binary, [binary, "chat", "-m", model, "-n", "100000000"])
seen = b""


def until(text, seconds=60):
    """Reads on until `text` was printed."""
    global seen
    end = time.monotonic() + seconds
    while text not in seen:
        ready, _, _ = select.select([terminal], [], [], 0.1)
        try:
            part = os.read(terminal, 4096) if ready else b""
        except OSError:  # Linux says so when the other side is gone.
            part, end = b"", 0
        seen += part
        if not part and time.monotonic() > end:
            sys.exit(f"{text!r} was not printed, but {seen[-2000:]!r}")
    seen = seen[seen.index(text) + len(text):]


def send(data):
    os.write(terminal, data)


for message in (b"Hello", b"Go on"):
    until(b"> ")
    send(message + b"\r")
    until(message)
    until(b"\n")
    time.sleep(0.3)  # The answer has begun or is about to.
    send(b"\x03")
    until(b"[stopped")
until(b"> ")
send(b"/stats\r")
until(b"last answer")
until(b"> ")
send(b"/fly\x03/help\r")  # The line is cleared, so that only the second command runs.
until(b"/quit")
until(b"> ")
send(b"\x03")
until(b"[press Ctrl-C again or Ctrl-D to quit]")
until(b"> ")
send(b"\x03")
_, status = os.waitpid(child, 0)
print("well" if status == 0 and b"unknown command" not in seen else f"status {status}, {seen!r}")
