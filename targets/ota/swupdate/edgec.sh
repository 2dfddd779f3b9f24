#!/bin/sh
# In the .swu. SWUpdate calls it as `edgec.sh preinst` and `edgec.sh postinst`; what fails here makes the update fail.
[ "$1" = postinst ] || exit 0
exec /usr/lib/edgec/edgec-ota install-and-remove /var/lib/edgec-ota/@IMAGE@
