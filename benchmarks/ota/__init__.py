"""Debian 13 with the real RAUC and SWUpdate, as robots in tests and benchmarks."""
