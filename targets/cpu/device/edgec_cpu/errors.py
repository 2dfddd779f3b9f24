"""Every error, and its exit code. Codes that edgec has too mean the same there.

    BoardError                 1   something that has no code of its own, such as a folder that cannot be written
     ├── UsageError            2   the request is wrong
     ├── WrongBoard            5   the bundle was not built for this CPU
     ├── ArtefactError         8   the bundle is damaged, incomplete, or for another version of this program
     │    └── EngineChanged    8   a model has changed since it was verified
     ├── VerificationFailed    9   no model reproduces the golden features; nothing was activated
     ├── EngineFailed         10   the runtime refuses a model, or fails on a frame
     ├── DiskFull             11   no room left
     ├── NoRuntime            12   neither runtime is installed, or it does not start
     ├── EngineHung           13   the runtime was silent for too long and was ended
     ├── NothingToDo          14   nothing to activate, or to roll back to
     ├── Busy                 15   another run holds the lock, and --no-wait was given
     ├── Untrusted            19   not signed, not by a key that is trusted here, or not as it was signed
     └── Outdated             20   signed, but expired, older than the active release, or another product's

70 is a bug in this program, with a traceback; 128 + n is signal n (130: Ctrl-C).
"""
