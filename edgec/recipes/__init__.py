"""edgec.toml: what is built of a checkpoint, in a file beside it."""
