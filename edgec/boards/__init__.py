"""Boards over ssh: what `edgec deploy` and `edgec bench --on` do. The programs that run there are in `targets/`."""
