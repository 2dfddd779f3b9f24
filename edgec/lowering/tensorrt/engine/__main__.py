import sys

from edgec.lowering.tensorrt.engine.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
