"""Families of targets: one folder a family, one object of `edgec.backends.base.Backend` each.

A family says what its profiles hold, which of its devices one artefact serves, how candidates are assessed and chosen, and what
is packed for the device. Other packages register their families as `edgec.backends` entry points.
"""
