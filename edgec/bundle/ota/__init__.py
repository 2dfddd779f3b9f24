"""A release in the forms that fleets' OTA tools take: a module a tool, all in `registry`.

What is inside is always the signed .edgec-bundle, which the board's own program checks again: an OTA tool's key signs what the
tool transports, and says nothing about the artefact. What goes into a board's image is in `targets/ota`.
"""
