"""The steps that every board goes through: receive a bundle, make its engines, verify, measure and activate them.

Python 3.8 or newer and its standard library, because that is all that a stock JetPack has. Start reading at `cli.py`. What makes
and runs engines, and what machine this is, comes from the family's own package (`tool.py`).
"""
