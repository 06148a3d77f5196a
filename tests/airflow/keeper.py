"""Runs a server for as long as its owner lives: keeper.py HOME LOG COMMAND...

The owner holds our standard input open. When that ends, however the owner ended, the server is
killed, its log is kept at LOG (where the owner may look after a failure) and HOME is removed.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading


def main() -> None:
    home, log, *command = sys.argv[1:]
    # A key pressed in the terminal reaches the owner too; its end is our sign.
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, lambda *_: None)
    with open(os.path.join(home, "log"), "wb") as out:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
        )
    threading.Thread(target=wait_for_the_owner, args=(server,), daemon=True).start()
    code = server.wait()
    shutil.copyfile(os.path.join(home, "log"), log)
    shutil.rmtree(home, ignore_errors=True)
    sys.exit(code if code > 0 else 0)


def wait_for_the_owner(server: subprocess.Popen) -> None:
    while sys.stdin.buffer.read(1):
        pass
    os.killpg(server.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
