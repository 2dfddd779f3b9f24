"""An arm64 machine without one: Debian's arm64 Python and the aarch64 wheels of the runtimes, run by qemu-user on this host.

What it computes is what a Cortex-A76 computes, instruction for instruction. How long it takes says nothing about any board.
"""
