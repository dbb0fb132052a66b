"""The ``fedkd`` command, and ``python -m fedkd``: it can be interrupted before it is imported."""

from .ending import end_at_once, heed


def main() -> None:
    """Run the command line."""
    heed(end_at_once)
    from .cli.app import main as run

    run()


if __name__ == "__main__":
    main()
