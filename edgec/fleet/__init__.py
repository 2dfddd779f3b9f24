"""Many boards: the file that lists them, what runs on each, and releases that go to them in waves. One board: `edgec.boards`."""
