"""`python -m oa`: the command line, where the script `oa` is not on the path."""

from oa.main import app

if __name__ == "__main__":
    app()
