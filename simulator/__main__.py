"""`python -m simulator` is `stragglersim`."""

from importlib import import_module


def main() -> None:
    """Run the command line, which is imported only here: each process of an executor imports the main script anew."""
    import_module("simulator.cli.app").main()


if __name__ == "__main__":
    try:
        main()
    finally:
        # Where Ctrl-C comes while a string is executed (dataclasses and named tuples are made that way), Python ends
        # `-m` by SIGINT, whatever the exit status is, unless another string is executed since.
        exec("")
