"""The build's stages: functions, each of which takes what earlier ones made, is cached under what it depends on, and says how far
it is.

What computes is in the rooms; here is only the order of files, keys and progress. torch is imported when a stage really runs.
"""
