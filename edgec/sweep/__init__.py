"""Many builds from one file: a matrix of checkpoints, targets, sizes and precisions, and what comes of it in one report.

`matrix` reads the file, `sweep` is the whole in one function. A cell of the matrix is one `edgec build` in a process of its own
(`cell`, started by `child`, here or through a scheduler); `turns` keeps latencies apart from other work; `answers` says what each
artefact means for a camera, `rendering` shows it.
"""
