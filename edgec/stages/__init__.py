"""The build's stages: functions that take the results of earlier ones. Each is cached under what it depends on, and reports its
progress.

The computing is done elsewhere; here are only files, keys and progress. torch is imported when a stage really runs.
"""
