"""What runs on boards and on the workstation: limited reading, seals, fidelity and its gate, statistics, child processes.

Python 3.8 and its standard library, because that is what JetPack 5 has; only `vectorised` needs numpy. It imports nothing from
edgec, and its own modules by relative imports: `edgec build` packs this folder, as `edgec_onboard`, into each family's program
(edgec/backends/program.py). So a figure, a bound or a gate comes from the same source wherever it is computed.
"""
