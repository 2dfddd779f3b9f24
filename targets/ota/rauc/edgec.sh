#!/bin/sh
# In a plain .raucb, as RAUC's update handler, in place of an image: there is nothing to write. The handlers in the robot's image
# install the release.
exit 0
