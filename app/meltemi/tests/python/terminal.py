"""Drives a command on a terminal, as a person at a keyboard would: `terminal.py kubectl exec -it POD -- sh`.

The command must lead to a shell. What it shows of its terminal is checked; it is left with `exit 7`.
"""

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

PATIENCE = 60


def size(descriptor, rows, columns):
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


child, master = pty.fork()
if child == 0:
    size(0, 33, 101)
    os.execvp(sys.argv[1], sys.argv[1:])

shown = b""


def read(until):
    """Reads what is shown until the time `until`, or the next part of it; False when there was nothing."""
    global shown
    if not select.select([master], [], [], max(0, until - time.time()))[0]:
        return False
    shown += os.read(master, 4096)
    return True


def expect(text, send=None):
    """Waits until `text` is shown; types `send` again now and then, for what takes effect a moment later."""
    global shown
    end = time.time() + PATIENCE
    while text.encode() not in shown:
        assert time.time() < end, f"{text!r} was not shown, but: {shown.decode(errors='replace')}"
        if send is not None:
            os.write(master, send.encode())
        read(time.time() + 1)
    shown = b""


# The shell evaluates what is between the brackets, so that the echo of what is typed is not taken for the answer.
expect("</dev/pts/", send='echo "<$(tty)>"\n')
expect("<33 101>", send='echo "<$(stty size)>"\n')
size(master, 40, 120)
expect("<40 120>", send='echo "<$(stty size)>"\n')
os.write(master, b"echo $((40 + 2)); sleep 1000\n")
expect("42")
# A shell that is just about to start the command may lose a Ctrl-C, as on any terminal: it is pressed until it works.
expect("<130>", send='\x03echo "<$?>"\n')
os.write(master, b"exit 7\n")
try:
    while read(time.time() + PATIENCE):
        pass
except OSError:
    pass  # The other side of the terminal is closed.
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert code == 7, f"exit code {code}: {shown.decode(errors='replace')}"
