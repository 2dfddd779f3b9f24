"""One signed file from an artefact: what a fleet is given, and how it is checked.

Signatures are those of OpenSSF Model Signing, made by `model-signing`. What checks them is `edgec.onboard.trust`, here and on
boards: it needs Python's standard library and `openssl`.
"""
