"""What runs on a board and on the workstation alike: bounded reading, seals, fidelity and its gate, statistics, child processes.

Python 3.8 and its standard library, because that is what JetPack 5 has; `vectorised` alone needs numpy, and is imported by
whoever has it. It imports nothing of edgec, and its own modules by relative imports: `edgec build` packs this folder, as
`edgec_onboard`, beside each family's own program (edgec/backends/program.py). So a figure, a bound or a gate is the same source
wherever it is made.
"""
