"""What the user typed to the files of one checkpoint, and what lies next to them."""
