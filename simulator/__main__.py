"""`python -m simulator` is `stragglersim`."""

from simulator.cli import main

if __name__ == "__main__":
    main()
