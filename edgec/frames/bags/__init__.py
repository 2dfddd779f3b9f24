"""ROS bags: camera topics of recordings in the formats of ROS 2 (`.mcap`, `.db3`, their folders) and of ROS 1 (`.bag`).

The package `rosbags` reads them; it is the extra `ros`. `salvage` makes a bag readable whose end was lost, `opening` opens one,
`topics` chooses the camera's topic and its frames, `images` turns a message into pixels.
"""
