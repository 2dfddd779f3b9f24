from __future__ import annotations

import struct

import numpy as np
import pytest

from edgec import extras
from edgec.errors import CalibrationError, MissingPackage
from edgec.frames import load, split, video

av = pytest.importorskip("av", reason="PyAV is not installed: pip install edgec[video]")

HEIGHT, WIDTH = 96, 128


def numbered(number: int) -> np.ndarray:
    """A frame that shows its own number as seven light or dark bars."""
    picture = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    for bit in range(7):
        picture[10:40, 8 + 16 * bit : 20 + 16 * bit] = 220 if number >> bit & 1 else 40
    return picture


def number_of(picture: np.ndarray) -> int:
    assert picture.shape == (HEIGHT, WIDTH, 3)
    return sum(1 << bit for bit in range(7) if picture[25, 14 + 16 * bit, 0] > 128)


def film(path, codec="mpeg4", count=100, b_frames=0, pictures=None):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = 12
        stream.codec_context.max_b_frames = b_frames
        for number in range(count):
            picture = numbered(number) if pictures is None else pictures[number]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("name", "codec", "b_frames"),
    [
        ("a.mp4", "libx264", 2),
        ("a.avi", "mjpeg", 0),
        ("b.avi", "mpeg4", 0),
        ("c.avi", "mpeg4", 2),
        ("d.avi", "libx264", 2),
        ("a.mkv", "libx264", 2),
        ("a.mov", "mpeg4", 2),
        ("a.webm", "libvpx", 0),
    ],
)
def test_every_frame_is_found_in_any_order(tmp_path, name, codec, b_frames):
    opened = video.probe(film(tmp_path / name, codec, b_frames=b_frames))
    assert opened.frames == 100
    projector = video.Projector()
    for order in (range(100), range(0, 100, 9), (99, 0, 50, 49, 51, 99, 12, 11)):
        assert [number_of(projector.read(opened, index, "x")) for index in order] == list(order)
    projector.close()


def test_reading_forward_decodes_each_frame_once(tmp_path, monkeypatch):
    opened = video.probe(film(tmp_path / "a.mp4", "libx264", b_frames=2))
    decoded = 0
    real = video._decoded

    def counting(container):
        nonlocal decoded
        for frame in real(container):
            decoded += 1
            yield frame

    monkeypatch.setattr(video, "_decoded", counting)
    projector = video.Projector()
    for index in range(0, 100, 5):
        projector.read(opened, index, "x")
    assert decoded <= 100


def test_one_video_is_open_at_a_time(tmp_path):
    opened = [video.probe(film(tmp_path / f"{number}.avi", count=12)) for number in range(3)]
    projector = video.Projector()
    for index in (0, 5, 3):
        for one in opened:
            assert number_of(projector.read(one, index, "x")) == index
            assert projector._video is one


def test_a_videos_frames_share_a_source_and_are_ordered(tmp_path):
    film(tmp_path / "walk.avi")
    loaded = load(str(tmp_path / "walk.avi"))
    assert len(loaded.frames) == 100
    assert {frame.source for frame in loaded.frames} == {"walk.avi"}
    assert loaded.frames[7].name == "walk.avi#000007"
    assert loaded.frames[7].order == 7
    assert number_of(loaded.frames[7].read()) == 7
    parts = split(loaded)
    assert max(frame.order for frame in parts.calibration) < min(frame.order for frame in parts.validation)


def test_a_phones_rotation_is_applied(tmp_path):
    path = film(tmp_path / "phone.mp4", "libx264", count=6)
    content = bytearray(path.read_bytes())
    matrix = content.find(b"tkhd") + 44
    a_quarter_turn_clockwise = (0, 0x10000, 0, -0x10000, 0, 0, HEIGHT << 16, 0, 0x40000000)
    content[matrix : matrix + 36] = struct.pack(">9i", *a_quarter_turn_clockwise)
    path.write_bytes(content)
    upright = load(str(path)).frames[5].read()
    assert upright.shape == (WIDTH, HEIGHT, 3)
    assert number_of(np.rot90(upright)) == 5


@pytest.mark.parametrize(
    ("frames", "rate", "stride"), [(10, 30, 1), (795, 10, 10), (3600, 30, 30), (108_000, 30, 211), (640, 0, 2), (0, 25, 1)]
)
def test_the_default_stride(tmp_path, frames, rate, stride):
    assert video.Video(tmp_path / "a.avi", frames, rate).default_stride() == stride


def test_a_manifest_sets_the_stride(tmp_path):
    film(tmp_path / "walk.avi")
    (tmp_path / "set.toml").write_text('name = "set"\n[[sources]]\npath = "*.avi"\nevery = 10\n')
    assert [frame.order for frame in load(str(tmp_path / "set.toml")).frames] == list(range(0, 100, 10))


def test_the_hash_is_over_the_file_and_the_sampling(tmp_path):
    film(tmp_path / "walk.avi")
    hashes = set()
    for every in (5, 6):
        (tmp_path / "set.toml").write_text(f'name = "set"\n[[sources]]\npath = "walk.avi"\nevery = {every}\n')
        hashes.add(load(str(tmp_path / "set.toml")).sha256)
    film(tmp_path / "walk.avi", count=99)
    hashes.add(load(str(tmp_path / "set.toml")).sha256)
    assert len(hashes) == 3


def test_a_folder_may_hold_videos_and_pictures(tmp_path, picture):
    film(tmp_path / "walk.avi", count=10)
    picture("a.png")
    (tmp_path / "broken.mp4").write_bytes(b"not a video")
    (tmp_path / "empty.mkv").touch()
    loaded = load(str(tmp_path))
    assert len(loaded.frames) == 11
    assert {name for name, _ in loaded.skipped} == {"broken.mp4", "empty.mkv"}


def test_frames_that_a_cut_video_lacks_are_not_listed(tmp_path):
    path = film(tmp_path / "walk.avi")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    loaded = load(str(path))
    assert 10 < len(loaded.frames) < 90
    assert number_of(loaded.frames[9].read()) == 9


CODECS = [
    ("a.avi", "mjpeg"),
    ("a.avi", "mpeg4"),
    ("a.mp4", "mpeg4"),
    ("a.mp4", "libx264"),
    ("a.mkv", "libx264"),
    ("a.webm", "libvpx"),
]


def packets_of(path):
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size, packet.is_keyframe) for packet in container.demux(video=0) if packet.size]


def read_all(path):
    """By their order, the frames that can be used; and the orders of the others."""
    pictures, damaged = {}, []
    for frame in load(str(path)).frames:
        try:
            pictures[frame.order] = frame.read()
        except CalibrationError:
            damaged.append(frame.order)
    return pictures, damaged


def up_to_a_keyframe(packets, number):
    return next((at for at in range(number + 1, len(packets)) if packets[at][2]), len(packets))


@pytest.mark.parametrize(("name", "codec"), CODECS)
def test_a_broken_frame_and_those_drawn_from_it_are_damaged_and_no_others(tmp_path, name, codec):
    path = film(tmp_path / name, codec, count=30)
    packets = packets_of(path)
    content = bytearray(path.read_bytes())
    position, size, _ = packets[7]
    content[position + 8 : position + size] = b"\xff" * (size - 8) if codec == "libvpx" else bytes(size - 8)
    path.write_bytes(content)
    pictures, damaged = read_all(path)
    assert damaged == list(range(7, up_to_a_keyframe(packets, 7)))
    assert all(number_of(picture) == order for order, picture in pictures.items())
    assert len(pictures) == 30 - len(damaged)


@pytest.mark.parametrize("b_frames", [0, 2])
def test_frames_whose_reference_is_missing_are_damaged(tmp_path, b_frames):
    """As where a recorder lost a packet on the way."""
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (HEIGHT // 8 + 8, WIDTH // 8 + 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    pictures = [base[at : at + HEIGHT, at : at + WIDTH].copy() for at in range(30)]
    whole = film(tmp_path / "whole.mp4", "libx264", count=30, b_frames=b_frames, pictures=pictures)
    with av.open(str(whole)) as source, av.open(str(tmp_path / "lost.mp4"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        lost = max(range(1, 7), key=lambda number: packets[number].pts)  # one that others are drawn from
        assert not any(packet.is_keyframe for packet in packets[1:12])
        times = sorted(packet.pts for packet in packets)
        used = [packet for number, packet in enumerate(packets) if number != lost]
        for packet in used:
            packet.stream = stream
            target.mux(packet)
    before, _ = read_all(whole)
    after, damaged = read_all(tmp_path / "lost.mp4")
    assert len(before) == 30
    assert 0 < len(damaged) < 12
    left = [number for number in range(30) if times[number] in {packet.pts for packet in used}]
    for order, picture in after.items():
        assert np.array_equal(picture, before[left[order]])


@pytest.mark.parametrize(("name", "codec"), CODECS)
def test_no_flipped_bits_that_the_decoder_notices_give_a_frame(tmp_path, name, codec):
    """Decoders go on over damage, and only their log tells. What none of them can notice is a valid other picture."""
    rng = np.random.default_rng(1)
    base = rng.integers(0, 256, (HEIGHT // 8 + 8, WIDTH // 8 + 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    path = film(tmp_path / name, codec, count=24, pictures=[base[at : at + HEIGHT, at : at + WIDTH].copy() for at in range(24)])
    packets, content = packets_of(path), path.read_bytes()
    noticed = 0
    for number in range(4, 12):
        position, size, _ = packets[number]
        broken = bytearray(content)
        for place in rng.integers(size // 4, size, 4):
            broken[position + place] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        _, damaged = read_all(path)
        if damaged:
            noticed += 1
            assert damaged == list(range(damaged[0], up_to_a_keyframe(packets, number)))
    # VP8's arithmetic decoder takes nearly any bits for a picture.
    assert noticed >= (1 if codec == "libvpx" else 2)


def test_sixteen_bits_and_hdr_are_refused_by_name(tmp_path):
    from av.video.frame import VideoFrame

    def encode(path, codec, pixel_format, curve=None):
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
            if curve is not None:
                stream.codec_context.color_trc = curve
            for _ in range(10):
                frame = VideoFrame(64, 48, pixel_format)
                for (
                    plane
                ) in frame.planes:  # a new frame holds whatever the memory held, and encoders need not bear samples over 10 bits
                    plane.update(bytes(plane.buffer_size))
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    for path, reason in (
        (encode(tmp_path / "a.mkv", "ffv1", "gray16le"), "16 bits a sample"),
        (encode(tmp_path / "b.mp4", "libx264", "yuv420p10le", 16), "HDR"),
        (encode(tmp_path / "c.mp4", "libx264", "yuv420p10le", 18), "HDR"),
    ):
        with pytest.raises(CalibrationError) as caught:
            load(str(path))
        assert reason in str(caught.value)
    assert len(load(str(encode(tmp_path / "d.mp4", "libx264", "yuv420p10le"))).frames) == 10


@pytest.mark.parametrize(
    ("pixel_format", "codec"), [("yuv420p", "libx264"), ("yuv420p10le", "libx264"), ("gray10le", "ffv1"), ("gray12le", "ffv1")]
)
@pytest.mark.parametrize("full", [False, True])
def test_range_and_depth_are_what_the_video_says(tmp_path, pixel_format, codec, full):
    grey = np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None].repeat(48, 0).repeat(3, 2)
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options={"crf": "2"} if codec == "libx264" else {})
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        reach = av.video.reformatter.ColorRange.JPEG if full else av.video.reformatter.ColorRange.MPEG
        stream.codec_context.color_range = reach
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(grey), format="rgb24").reformat(
            format=pixel_format, dst_color_range=reach
        )
        for _ in range(8):
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    read = load(str(path)).frames[3].read().astype(int)
    assert np.abs(read - grey).max() <= 6


def test_without_pyav_a_video_says_what_to_install(tmp_path, monkeypatch):
    film(tmp_path / "walk.avi", count=10)
    monkeypatch.setattr(extras, "installed", lambda package: package != "av")
    with pytest.raises(MissingPackage, match=r"pip install 'edgec\[video\]'"):
        load(str(tmp_path / "walk.avi"))


def test_the_street_cameras_video(data):
    loaded = load(str(data / "video" / "vtest.avi"))
    assert [frame.order for frame in loaded.frames] == list(range(0, 795, 10))
    first, last = loaded.frames[0].read(), loaded.frames[-1].read()
    assert first.shape == last.shape == (576, 768, 3)
    assert np.array_equal(loaded.frames[0].read(), first)
    assert np.abs(first.astype(int) - last).mean() > 2
