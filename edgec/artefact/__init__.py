"""Artefacts: the directories that `edgec build` writes, and what is checked when one is opened."""
