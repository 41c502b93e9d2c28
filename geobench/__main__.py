"""``python -m geobench`` is ``geobench``."""

from geobench.cli import main

main()
