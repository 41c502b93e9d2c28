"""What lies in ``GEOBENCH_HOME``: listed by kind, removed where nothing needs it, swept after killed runs."""
