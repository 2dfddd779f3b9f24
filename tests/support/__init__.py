"""What tests of several rooms share: small models, frames and files, and the command line in a process of its own."""
