"""Malicious archives, made here byte by byte: each is refused with one line, and nothing of it remains."""

import bz2
import gzip
import io
import lzma
import os
import resource
import stat
import tarfile
import time
import zipfile
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geobench.data.download.unpack import Limits, unpack
from geobench.errors import DownloadError

PHOTO = bytes(range(256)) * 20
GB = 1 << 30


@pytest.fixture
def into(tmp_path):
    """Return a function that writes an archive, unpacks it into ``out/photos`` and returns what lies in there."""

    def run(data, name="a.tar", **limits):
        archive = tmp_path / name
        archive.write_bytes(data)
        folder = tmp_path / "out" / "photos"
        unpack(archive, folder, Limits(**limits) if limits else None)
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    return run


@pytest.fixture
def refused(into, tmp_path):
    """Return a function that unpacks an archive, which must fail in one line and leave nothing; returns the line."""

    def run(data, name="a.tar", **limits):
        before = {path for path in tmp_path.rglob("*") if "out" not in path.parts}
        with pytest.raises(DownloadError) as caught:
            into(data, name, **limits)
        assert "\n" not in str(caught.value)
        assert str(tmp_path / name) in str(caught.value)
        assert list((tmp_path / "out").iterdir()) == []
        assert {path for path in tmp_path.rglob("*") if "out" not in path.parts} - before <= {tmp_path / name}
        return str(caught.value)

    return run


def tar(*members, mode="w", **options):
    """Return a tar archive of members: (name, bytes) or a ``TarInfo``."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode, **options) as opened:
        for member in members:
            info, body = (
                (member, b"") if isinstance(member, tarfile.TarInfo) else (tarfile.TarInfo(member[0]), member[1])
            )
            if body:
                info.size = len(body)
            opened.addfile(info, io.BytesIO(body) if body else None)
    return made.getvalue()


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zipped(*members, **options):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", **options) as opened:
        for name, body in members:
            opened.writestr(name, body)
    return made.getvalue()


# -- what is fine


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_of_photos_is_unpacked(into, mode, form):
    name = "folder/" * 12 + "a name of more than a hundred characters, which two of the three forms can hold.jpg"
    members = [("a.jpg", PHOTO), ("b/c.jpg", b"c"), ("./d/ü – e.jpg", b"e")]
    members += [(name, b"long")] if form != tarfile.USTAR_FORMAT else []
    found = into(tar(*members, mode=mode, format=form))
    assert found == {member.removeprefix("./"): body for member, body in members}


def test_a_zip_of_photos_is_unpacked(into):
    made = zipped(("a.jpg", PHOTO), ("b/", b""), ("b/c.jpg", b"c"), compression=zipfile.ZIP_DEFLATED)
    assert into(made, "a.zip") == {"a.jpg": PHOTO, "b/c.jpg": b"c"}


def test_a_zip_made_on_windows_has_folders(into):
    assert into(zipped(("b\\c.jpg", b"c")), "a.zip") == {"b/c.jpg": b"c"}


def test_an_archive_is_identified_by_its_content_not_by_its_name(into):
    assert into(zipped(("a.jpg", PHOTO)), "a.tar.gz") == {"a.jpg": PHOTO}


def test_a_tar_that_ends_with_a_zip_is_a_tar(into):
    inner = zipped(("x.jpg", b"x"))
    assert into(tar(("inner.zip", inner))) == {"inner.zip": inner}


def test_empty_files_and_folders_are_kept(into, tmp_path):
    assert into(tar(("a.jpg", b""), special("empty", tarfile.DIRTYPE))) == {"a.jpg": b""}
    assert (tmp_path / "out" / "photos" / "empty").is_dir()


def test_modes_and_owners_are_not_kept(into, tmp_path):
    info = tarfile.TarInfo("a.jpg")
    info.mode, info.uid = 0o6777, 12345
    into(tar(info))
    status = (tmp_path / "out" / "photos" / "a.jpg").stat()
    assert status.st_mode & 0o7111 == 0
    assert status.st_uid == os.getuid()


def test_a_folder_that_exists_is_left_alone(into, tmp_path):
    place = tmp_path / "out" / "photos"
    place.mkdir(parents=True)
    (place / "mine.jpg").touch()
    with pytest.raises(DownloadError, match=r"photos already exists; move it away to unpack again"):
        into(tar(("a.jpg", PHOTO)))
    assert [path.name for path in place.iterdir()] == ["mine.jpg"]


# -- paths, links, devices

OUTSIDE = [
    "../x",
    "a/../../x",
    "/etc/x",
    "//x",
    "..",
    "..\\x",
    "a\\..\\..\\x",
    "C:\\x",
    "c:x",
    "\\x",
    "\\\\host\\share\\x",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_tar_with_a_path_outside_is_refused(refused, name):
    assert "leads outside the folder" in refused(tar(("fine.jpg", PHOTO), (name, b"x")))


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_zip_with_a_path_outside_is_refused(refused, name):
    assert "leads outside the folder" in refused(zipped(("fine.jpg", PHOTO), (name, b"x")), "a.zip")


@pytest.mark.parametrize(
    "member",
    [
        special("link", tarfile.SYMTYPE, "/etc"),
        special("link", tarfile.SYMTYPE, "fine.jpg"),
        special("link", tarfile.SYMTYPE, "../../x"),
        special("link", tarfile.LNKTYPE, "/etc/passwd"),
        special("link", tarfile.LNKTYPE, "fine.jpg"),
        special("device", tarfile.CHRTYPE),
        special("device", tarfile.BLKTYPE),
        special("pipe", tarfile.FIFOTYPE),
        special("old", tarfile.CONTTYPE),
        special("sparse", tarfile.GNUTYPE_SPARSE),
        special("strange", b"Z"),
    ],
    ids=lambda member: f"{member.name}-{member.type.decode()}-{member.linkname}",
)
def test_a_tar_with_anything_but_files_and_folders_is_refused(refused, member):
    assert "is a link, a device or sparse" in refused(tar(("fine.jpg", PHOTO), member))


def test_a_file_behind_a_link_of_the_same_archive_is_not_written(refused, tmp_path):
    (tmp_path / "victim").mkdir()
    made = tar(special("way", tarfile.SYMTYPE, str(tmp_path / "victim")), ("way/x.jpg", b"x"))
    assert "'way' is a link" in refused(made)
    assert list((tmp_path / "victim").iterdir()) == []


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_a_zip_with_a_link_or_device_is_refused(refused, kind):
    info = zipfile.ZipInfo("link")
    info.external_attr = (kind | 0o777) << 16
    assert "'link' is a link or a device" in refused(zipped(("fine.jpg", PHOTO), (info, "/etc/passwd")), "a.zip")


@pytest.mark.parametrize("second", ["a.jpg", "./a.jpg", "b/../a.jpg"])
def test_a_duplicate_name_is_refused(refused, second):
    line = refused(tar(("a.jpg", PHOTO), (second, b"other")))
    assert "it contains 'a.jpg' twice" in line or "leads outside" in line


@pytest.mark.parametrize("members", [[("a", b"x"), ("a/b", b"y")], [("a/b", b"y"), ("a", b"x")]])
def test_a_name_that_is_both_file_and_folder_is_refused(refused, members):
    assert "cannot be unpacked" in refused(tar(*members))


def test_a_name_that_no_disk_can_store_is_one_line(refused):
    assert "cannot be unpacked: File name too long" in refused(tar(("x" * 300, b"x"), format=tarfile.PAX_FORMAT))


# -- bombs


def zeros(total, block=1 << 26):
    """Return a raw deflate stream of ``total`` zeros: one compressed block again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)
    return piece * (total // block) + zlib.compressobj(9, zlib.DEFLATED, -15).flush()


def bomb(entries, real, stated=None, block=1 << 26):
    """Return a zip with ``entries`` members of ``real`` zeros each; the directory states another size if asked to."""
    stream, made = zeros(real, block), io.BytesIO()
    with zipfile.ZipFile(made, "w") as opened:
        for number in range(entries):
            opened.writestr(f"{number}.jpg", stream)
            info = opened.filelist[-1]
            info.compress_type, info.file_size = zipfile.ZIP_DEFLATED, real if stated is None else stated
    return made.getvalue()


@pytest.fixture(autouse=True)
def cheap():
    """Fail a test that takes long, much memory, or much disk to refuse a bomb."""
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    yield
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert time.monotonic() - start < 10
    assert after.ru_maxrss - before.ru_maxrss < 400_000  # kB
    assert after.ru_oublock - before.ru_oublock < 600_000  # of 512 bytes


def test_a_zip_bomb_of_10_gb_is_refused_unopened(refused):
    made = bomb(10, GB)
    assert len(made) < 12_000_000
    assert "it unpacks to more than 0.5 GB, the limit for an archive of its size" in refused(made, "bomb.zip")


def test_a_zip_bomb_of_many_members_is_refused_before_any_is_written(refused):
    made = bomb(1000, 10_000_000, block=10_000_000)
    assert "it unpacks to more than" in refused(made, "bomb.zip")


def test_a_zip_bomb_that_states_small_sizes_stops_at_them(refused):
    assert "is damaged" in refused(bomb(1, GB, stated=1000), "bomb.zip")


def test_a_zip_bomb_in_a_single_member_of_10_gb_is_refused(refused):
    made = bomb(1, 10 * GB - (1 << 26))  # more than 4 GB: zip64
    assert "it unpacks to more than" in refused(made, "bomb.zip")


def gzipped_zeros(total, head=b""):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + start + zeros(total) + bytes(8)


def test_a_tar_bomb_of_10_gb_is_refused(refused):
    info = tarfile.TarInfo("big.jpg")
    info.size = 10 * GB
    made = gzipped_zeros(10 * GB, info.tobuf(tarfile.GNU_FORMAT))
    assert len(made) < 12_000_000
    assert "it unpacks to more than 0.5 GB" in refused(made, "bomb.tar.gz")


def test_a_tar_whose_many_small_files_add_up_to_a_bomb_is_refused(refused):
    members = [(f"{number}.jpg", bytes(5_000_000)) for number in range(30)]
    assert "it unpacks to more than 0.1 GB" in refused(tar(*members, mode="w:gz", compresslevel=1), "a.tar.gz")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_of_gigabytes_is_not_read_into_memory(refused, kind):
    info = special("head", kind)
    info.size = 3 * GB
    assert "one of its headers is far too long" in refused(gzipped_zeros(3 * GB, info.tobuf(tarfile.GNU_FORMAT)))


def test_headers_that_add_up_to_a_bomb_are_refused(refused):
    info = special("head", tarfile.XGLTYPE)
    info.size = 1 << 22
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = packer.compress(info.tobuf(tarfile.USTAR_FORMAT) + bytes(1 << 22)) + packer.flush(zlib.Z_FULL_FLUSH)
    made = b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + piece * 300
    assert "it unpacks to more than 0.1 GB" in refused(made)


def test_a_member_shorter_than_stated_is_refused(refused):
    made = bytearray(zipped(("a.jpg", b"abc")))
    made[made.rindex(b"PK\x01\x02") + 24] = 5  # the length, in the directory
    assert "'a.jpg' has 3 bytes instead of the stated 5" in refused(bytes(made), "a.zip")


def test_too_many_members_are_refused(refused):
    made = tar(*[(f"{number}.jpg", b"") for number in range(20)])
    assert "it contains more than 10 files" in refused(made, members=10)


def test_photos_that_hardly_compress_are_not_a_bomb(into):
    photos = [(f"{number}.jpg", os.urandom(50_000)) for number in range(40)]
    assert len(into(zipped(*photos, compression=zipfile.ZIP_DEFLATED), "a.zip", floor_bytes=0, ratio=1.1)) == 40


# -- damage


def test_a_file_that_is_not_an_archive_is_one_line(refused):
    for data in (
        b"",
        b"x",
        b"<html>not found</html>" * 100,
        os.urandom(5000),
        gzip.compress(b"text"),
        b"\x1f\x8b",
        b"PK\x03\x04",
    ):
        assert "is damaged or not a readable archive" in refused(data)


@pytest.mark.parametrize("packed", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_tar_that_is_cut_anywhere_is_refused(refused, packed):
    whole = packed(tar(("a.jpg", PHOTO), ("b.jpg", PHOTO)))
    for end in range(0, len(whole) - (10240 if packed is bytes else 0), max(1, len(whole) // 23)):
        assert "a.tar" in refused(whole[:end])


def test_a_compressed_tar_with_a_wrong_checksum_is_refused(refused):
    made = bytearray(tar(("a.jpg", PHOTO), mode="w:gz"))
    made[-8] ^= 0xFF
    assert "is damaged or not a readable archive: CRC check failed" in refused(bytes(made))


def test_a_tar_without_its_end_is_refused(refused):
    body = tar(("a.jpg", b"x" * 512))
    assert "it has no end mark" in refused(body[:1024])


def test_a_tar_with_a_broken_header_in_the_middle_is_refused(refused):
    made = bytearray(tar(("a.jpg", b"x" * 512), ("b.jpg", PHOTO)))
    made[1024 + 150] ^= 0xFF  # its checksum
    assert "a broken header" in refused(bytes(made))


def test_a_zip_that_is_cut_or_changed_is_refused(refused):
    whole = zipped(("a.jpg", PHOTO), ("b.jpg", PHOTO))
    for end in range(0, len(whole), 997):
        assert "is damaged" in refused(whole[:end], "a.zip")
    changed = bytearray(whole)
    changed[100] ^= 0xFF  # in the first photo: its checksum tells
    assert "is damaged or not a readable archive: Bad CRC-32" in refused(bytes(changed), "a.zip")


def test_a_zip_with_a_password_is_one_line(refused):
    made = bytearray(zipped(("a.jpg", PHOTO)))
    made[6] |= 1  # encrypted, says the member
    made[made.rindex(b"PK\x01\x02") + 8] |= 1  # and the directory
    assert "password" in refused(bytes(made), "a.zip")


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_an_archive_with_changed_bytes_is_unpacked_or_refused_and_nothing_lies_outside(tmp_path, data):
    makers = [lambda: tar(("a.jpg", PHOTO), ("b/c.jpg", b"c")), lambda: zipped(("a.jpg", PHOTO), ("b/c.jpg", b"c"))]
    made = bytearray(data.draw(st.sampled_from(makers))())
    for _ in range(data.draw(st.integers(1, 4))):
        made[data.draw(st.integers(0, len(made) - 1))] = data.draw(st.integers(0, 255))
    archive, folder = tmp_path / "a", tmp_path / "out" / "photos"
    archive.write_bytes(made)
    number = 0
    try:
        number = unpack(archive, folder)
    except DownloadError as error:
        assert "\n" not in str(error)
        assert not folder.exists()
    everything = {path for path in tmp_path.rglob("*") if "home" not in path.parts and "work" not in path.parts}
    inside = {path for path in everything if folder in path.parents}
    assert sum(path.is_file() for path in inside) == number
    assert everything - inside <= {archive, folder.parent, folder, tmp_path / "home", tmp_path / "work"}
    if folder.exists():
        for path in sorted(inside, reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        folder.rmdir()
