"""`python -m simulator` is `stragglersim`."""

from importlib import import_module

if __name__ == "__main__":
    try:
        import_module("simulator.cli.app").main()
    finally:
        # Where Ctrl-C comes while a string is executed (dataclasses and named tuples are made that way), Python ends
        # `-m` by SIGINT, whatever the exit status is, unless another string is executed since.
        exec("")
