"""Folders and pictures: what is wrong is named, what is odd is put right."""

import pytest
from PIL import Image

from credit_zoo.questions.local_folder import read_rows
from credit_zoo.questions.pictures import BadImage, open_image
from credit_zoo.registry import UsageError


def test_the_line_that_is_not_json_is_named(tmp_path):
    (tmp_path / "annotations.jsonl").write_text('{"id": 1}\n\n{"id": \n')
    with pytest.raises(UsageError, match="line 3 is not JSON"):
        read_rows(tmp_path, ["id"])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(tmp_path, mode):
    picture = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    picture.putpixel((1, 0), (10, 10, 10, 255))
    saved = tmp_path / "clear.png"
    picture.convert(mode).save(saved)
    opened = open_image(saved)
    assert opened.mode == "RGB"
    assert opened.getpixel((0, 0)) == (255, 255, 255)
    assert max(opened.getpixel((1, 0))) < 30


def test_pictures_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 6)).save(tmp_path / "turned.jpg", exif=exif)
    assert open_image(tmp_path / "turned.jpg").size == (6, 8)


@pytest.mark.parametrize("mode", ["L", "CMYK", "1", "I;16"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    file = tmp_path / "picture.tif"
    Image.new(mode, (3, 3)).save(file)
    assert open_image(file).mode == "RGB"


def test_a_folder_is_no_picture(tmp_path):
    with pytest.raises(BadImage, match="does not decode"):
        open_image(tmp_path)
