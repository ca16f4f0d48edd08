"""The entry of `rushes`: it may be interrupted from its first moment."""

import signal


def main() -> None:
    """Run the command line. Loading it takes half a second, in which Ctrl-C ends it without a word."""
    heard = signal.getsignal(signal.SIGINT)
    if heard is not signal.SIG_IGN:  # whoever started us in the background wants it so
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from ops.commands import app  # noqa: PLC0415 (the line above comes first)

    signal.signal(signal.SIGINT, heard)
    app()


if __name__ == "__main__":
    main()
