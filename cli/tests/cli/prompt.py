"""A chat at the prompt of a terminal: the command sys.argv[1] with the model sys.argv[2]; files go to sys.argv[3].

Lines that arrive at once are all answered, what is not text ends nothing, and a signal leaves the terminal as it was."""

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time

binary, model, folder = sys.argv[1:]


class Chat:
    def __init__(self, *options):
        self.terminal, self.other = pty.openpty()
        self.before = termios.tcgetattr(self.other)
        self.seen = b""
        self.process = subprocess.Popen(
            [binary, "chat", "-m", model, "--greedy", *options],
            stdin=self.other, stdout=self.other, stderr=self.other,
            start_new_session=True, env={**os.environ, "TERM": "xterm"},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def read(self):
        if select.select([self.terminal], [], [], 0.1)[0]:
            self.seen += os.read(self.terminal, 4096)

    def until(self, text, times=1):
        """Reads on until `text` was printed that many times."""
        end = time.monotonic() + 60
        while self.seen.count(text) < times:
            self.read()
            if time.monotonic() > end:
                sys.exit(f"{text!r} was not printed {times} times, but {self.seen[-2000:]!r}")

    def send(self, data):
        os.write(self.terminal, data)

    def end(self, code):
        end = time.monotonic() + 60
        # Whoever writes to a terminal that nobody reads waits.
        while self.process.poll() is None and time.monotonic() < end:
            self.read()
        status = self.process.poll()
        if status != code:
            self.process.kill()
            sys.exit(f"status {status} instead of {code}, {self.seen[-2000:]!r}")
        after = termios.tcgetattr(self.other)
        if after != self.before:
            sys.exit(f"the terminal was left as {after} instead of {self.before}")


chat = Chat("-n", "2")
chat.until(b"> ")
chat.send(b"first\rsecond\rthird\r")
chat.until(b"[token limit reached", 3)
chat.send(b"caf\xe9\r")
chat.until(b"is not UTF-8 text")
chat.send(b"fourth\r")
chat.until(b"[token limit reached", 4)
# Between two prompts the terminal itself takes Ctrl-D, and gives nothing to whoever reads next.
chat.until(b"\x1b[K> ", 6)
chat.send(b"\x04")
chat.end(0)

for number in signal.SIGTERM, signal.SIGHUP:
    chat = Chat("-n", "2")
    chat.until(b"> ")
    time.sleep(0.2)  # The prompt is printed before it is waited at.
    chat.process.send_signal(number)
    chat.end(128 + number)
    file = f"{folder}/{int(number)}"
    chat = Chat("-n", "100000000", "--save", file)
    chat.until(b"> ")
    chat.send(b"Hello\r")
    chat.until(b"Hello")
    answer = len(chat.seen) + 500
    while len(chat.seen) < answer:
        chat.read()
    chat.process.send_signal(number)
    chat.end(128 + number)
    if os.path.getsize(file) < 1000:
        sys.exit("the answer so far was not saved")
print("well")
