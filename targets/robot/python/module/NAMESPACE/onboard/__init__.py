"""Modules that programs on robots have in common with edgec, unchanged: `keeping` and `ring` keep frames in a folder, `files`
flushes them to the disk."""
