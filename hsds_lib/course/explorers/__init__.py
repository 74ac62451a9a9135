"""The course's explorers, a module each; ``explorer()`` makes one, and ``hsds_lib.course.widgets.explore`` shows it."""
