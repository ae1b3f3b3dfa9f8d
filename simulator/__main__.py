"""`python -m simulator` is `stragglersim`."""

from simulator.cli.app import main

if __name__ == "__main__":
    try:
        main()
    finally:
        # Where Ctrl-C comes while a string is executed (dataclasses and named tuples are made that way), Python ends
        # `-m` by SIGINT, whatever the exit status is, unless another string is executed since.
        exec("")
