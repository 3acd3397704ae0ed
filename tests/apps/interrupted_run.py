"""A command that is sent a signal while its frames are written."""

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from mdgen.data.store import is_store


def interrupted(command: list[str], store: Path, number: int, **handlers: Any) -> tuple[int, str]:
    """The exit status of a command, and what it said, that gets a signal half a second after its store is there.

    Args:
        command: words of the command.
        store: folder of the trajectory store that it makes.
        number: signal that it gets.
        handlers: what it does at signals when it begins, such as `SIGINT=signal.SIG_DFL`; as here for all others.
    """

    def listen() -> None:
        for name, handler in handlers.items():
            signal.signal(signal.Signals[name], handler)

    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=listen)
    for _ in range(1200):
        time.sleep(0.1)
        if is_store(store) or process.poll() is not None:
            break
    time.sleep(0.5)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    return process.returncode, said
