"""Hostile input, as strangers make it: a generator a kind of input, each input tried in a process of its own.

`python -m benchmarks fuzz`; see benchmarks/README.md. Everything is drawn from a seed: the kind and the number are the input.
"""
