"""`python -m rlsuite`: the command line where `rlsuite` is not on PATH."""

from rlsuite.cli.main import main

if __name__ == "__main__":
    main()
