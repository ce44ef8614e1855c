"""Folders and pictures: what is wrong is named, what is odd is put right."""

import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from credit_zoo.errors import UsageError
from credit_zoo.question import Question, Source
from credit_zoo.questions import picture_questions
from credit_zoo.questions.local_folder import read_rows
from credit_zoo.questions.picture_questions import SAMPLE, with_pictures
from credit_zoo.questions.pictures import BadImage, open_image, picture_size
from credit_zoo.questions.table_cells import BadCell, SeveralPictures, decimals, picture_of, strings, text

GREYS = [0, 100, 200, 255]  # in 8 bits; times 257 in 16


def test_the_line_that_is_not_json_is_named(tmp_path):
    (tmp_path / "annotations.jsonl").write_text('{"id": 1}\n\n{"id": \n')
    with pytest.raises(UsageError, match="line 3 is not JSON"):
        read_rows(tmp_path, ["id"])


# --- pictures ----------------------------------------------------------------------------------------------------


def pixels(file):
    picture = open_image(file)
    assert picture.mode == "RGB"
    return [picture.getpixel((x, y)) for y in range(picture.height) for x in range(picture.width)]


def grey(*values):
    return [(value,) * 3 for value in values]


def png(file, colour, depth, row, unseen=b""):
    """A PNG of one row of four pixels, chunk by chunk: Pillow writes few of the kinds that it reads."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", 4, 1, depth, colour, 0, 0, 0)
    parts = [
        chunk(b"IHDR", head),
        chunk(b"tRNS", unseen) if unseen else b"",
        chunk(b"IDAT", zlib.compress(b"\0" + row)),
    ]
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b""))
    return file


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
    assert open_image(tmp_path / "turned.jpg").size == picture_size(tmp_path / "turned.jpg") == (6, 8)


@pytest.mark.parametrize("mode", ["L", "CMYK", "1", "I;16"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    file = tmp_path / "picture.tif"
    Image.new(mode, (3, 3)).save(file)
    assert open_image(file).mode == "RGB"


@pytest.mark.parametrize("ending", ["png", "tif", "pgm", "jp2"])
def test_sixteen_bits_become_eight_by_value(tmp_path, ending):
    file = tmp_path / f"grey.{ending}"
    Image.fromarray(np.array([GREYS], np.uint16) * 257).save(file)
    assert pixels(file) == grey(*GREYS)


def test_ten_bits_become_eight_by_value(tmp_path):
    (tmp_path / "grey.pgm").write_bytes(b"P5 3 1 1023\n" + struct.pack(">3H", 0, 512, 1023))
    assert pixels(tmp_path / "grey.pgm") == grey(0, 128, 255)


@pytest.mark.parametrize(
    ("colour", "depth", "row", "unseen", "seen"),
    [
        (0, 16, struct.pack(">4H", *(257 * one for one in GREYS)), struct.pack(">H", 25700), grey(0, 255, 200, 255)),
        (0, 8, bytes([1, 2, 3, 4]), struct.pack(">H", 3), grey(1, 2, 255, 4)),
        (0, 2, b"\x1b", b"", grey(0, 85, 170, 255)), (0, 2, b"\x1b", struct.pack(">H", 1), grey(0, 255, 170, 255)),
        (0, 4, b"\x05\xaf", struct.pack(">H", 5), grey(0, 255, 170, 255)),
        (4, 16, struct.pack(">8H", 0, 65535, 25700, 0, 51400, 65535, 65535, 65535), b"", grey(0, 255, 200, 255)),
        (2, 16, struct.pack(">12H", *[0] * 3, *[25700] * 3, 51400, 0, 0, *[65535] * 3), b"",
         [(0, 0, 0), (100, 100, 100), (200, 0, 0), (255, 255, 255)]),
    ],
)  # fmt: skip
def test_depths_and_the_value_that_is_not_seen(tmp_path, colour, depth, row, unseen, seen):
    assert pixels(png(tmp_path / "a.png", colour, depth, row, unseen)) == seen


@pytest.mark.parametrize(("kind", "values"), [(np.float32, [0, 0.5, 1]), (np.int32, [0, 1000, 2**31 - 1])])
def test_values_without_a_fixed_range_are_refused(tmp_path, kind, values):
    Image.fromarray(np.array([values], kind)).save(tmp_path / "a.tif")
    with pytest.raises(BadImage, match=r"a\.tif does not decode: its values .* have no fixed range: save it with 8"):
        open_image(tmp_path / "a.tif")


@pytest.mark.parametrize("ending", ["gif", "tif", "webp", "png"])
def test_several_frames_are_refused_not_dropped(tmp_path, ending):
    first, second = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    first.save(tmp_path / f"a.{ending}", save_all=True, append_images=[second])
    with pytest.raises(BadImage, match="holds 2 frames"):
        open_image(tmp_path / f"a.{ending}")


def test_a_folder_is_no_picture(tmp_path):
    with pytest.raises(BadImage, match="does not decode"):
        open_image(tmp_path)


# --- cells -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", [None, float("nan"), "", "  "])
def test_nothing_is_no_text(nothing):
    with pytest.raises(BadCell, match=r"x\.jsonl line 3, id 7: column answer is empty"):
        text({"id": 7, "answer": nothing, "(place)": "x.jsonl line 3"}, "answer")
    with pytest.raises(BadCell, match="has an entry that is no text"):
        strings({"choices": ["a", nothing]}, "choices")
    assert (strings({"choices": nothing}, "choices"), decimals({"precision": nothing}, "precision")) == ((), None)


def test_what_says_none_is_text():
    assert (text({"answer": "None"}, "answer"), text({"answer": 0}, "answer"), text({"answer": False}, "answer")) == (
        "None", "0", "False",
    )  # fmt: skip


@pytest.mark.parametrize("value", ["two", float("inf"), 1.5, -1, [1]])
def test_a_number_of_decimals_is_one(value):
    with pytest.raises(BadCell, match="must be a number of decimals"):
        decimals({"precision": value}, "precision")
    assert [decimals({"precision": one}, "precision") for one in (1, 2.0, "1.0")] == [1, 2, 1]


def test_of_two_pictures_none_is_dropped(tmp_path):
    with pytest.raises(SeveralPictures, match="it holds 2 pictures"):
        picture_of({"image": ["a.png", "b.png"]}, tmp_path)
    assert picture_of({"image": ["a.png"]}, tmp_path) == tmp_path / "a.png"


@pytest.mark.parametrize("kind", ["jsonl", "json", "by id", "csv", "tsv"])
def test_every_kind_of_table_gives_the_same_rows(tmp_path, kind):
    rows = [{"id": "a", "options": ["1", "2, b"], "answer": "2, b"}, {"id": "c", "options": ["x"], "answer": None}]
    if kind in ("csv", "tsv"):
        apart = "," if kind == "csv" else "\t"
        cells = [["id", "options", "answer"], *([r["id"], json.dumps(r["options"]), r["answer"] or ""] for r in rows)]
        lines = [apart.join('"' + cell.replace('"', '""') + '"' for cell in line) for line in cells]
    elif kind == "jsonl":
        lines = map(json.dumps, rows)
    else:
        lines = [json.dumps(rows if kind == "json" else {row.pop("id"): row for row in [*rows]})]
    (tmp_path / f"annotations.{'json' if kind == 'by id' else kind}").write_text("\n".join(lines))
    found = read_rows(tmp_path, ("options", "answer")).rows
    assert [(row["id"], strings(row, "options"), row["answer"]) for row in found] == [
        ("a", ("1", "2, b"), "2, b"), ("c", ("x",), None),
    ]  # fmt: skip


# --- sets --------------------------------------------------------------------------------------------------------


def drawn_set(folder, count, **options):
    """A set of small pictures, each of a grey of its own."""
    folder.mkdir(exist_ok=True)
    rows = [{"id": str(number), "image": folder / f"{number}.png"} for number in range(count)]
    for number, row in enumerate(rows):
        if not row["image"].exists():
            Image.new("L", (4, 3), number).save(row["image"])

    def ask(row):
        return Question(text(row, "id"), None, "Find x.", "1", "math")

    source = Source("set", False, "0" * 12, count)
    return with_pictures(source, rows, ask, lambda row: row["image"], options.get("skip_bad", False))


@pytest.fixture
def decoded(monkeypatch):
    """The pictures that were decoded, in order."""
    seen = []
    real = picture_questions.open_image
    monkeypatch.setattr(picture_questions, "open_image", lambda path: seen.append(path) or real(path))
    return seen


def test_a_set_is_loaded_without_decoding_its_pictures(tmp_path, decoded):
    questions, source = drawn_set(tmp_path, 200)
    assert (source.rows, len(decoded) <= SAMPLE) == (200, True)
    decoded.clear()
    assert {(one.id, one.answer) for one in questions} == {(str(number), "1") for number in range(200)}
    assert decoded == []
    assert [questions[number].image.getpixel((0, 0)) for number in (3, 150)] == [(3, 3, 3), (150, 150, 150)]
    assert len(decoded) == 2
    kept = [vars(one) for one in questions]
    assert not any(isinstance(one["image"], Image.Image) for one in kept)


def test_a_bad_picture_beyond_the_sample_is_named_when_it_is_looked_at_or_counted_up_front(tmp_path):
    drawn_set(tmp_path, 200)
    (tmp_path / "77.png").write_bytes((tmp_path / "77.png").read_bytes()[:40])
    questions, source = drawn_set(tmp_path, 200)
    assert source.dropped == {}
    with pytest.raises(BadImage, match=r"77\.png does not decode"):
        questions[77].image  # noqa: B018
    questions, source = drawn_set(tmp_path, 200, skip_bad=True)
    assert (len(questions), source.rows, source.dropped) == (199, 199, {"bad picture": 1})
    assert "77" not in {one.id for one in questions}


def test_a_missing_picture_is_named_at_once_wherever_it_stands(tmp_path):
    rows = [{"id": str(n), "image": tmp_path / ("gone.png" if n == 150 else "a.png")} for n in range(200)]
    Image.new("L", (4, 3)).save(tmp_path / "a.png")
    with pytest.raises(BadImage, match=r"gone\.png is missing"):
        with_pictures(
            Source("set", False, "0" * 12, 200), rows, lambda row: Question(row["id"], None, "?", "1", "math"),
            lambda row: row["image"], False,
        )  # fmt: skip


def test_the_revision_tells_other_pictures_and_not_another_place(tmp_path):
    first, again = (drawn_set(tmp_path / "a", 5)[1].revision for _ in range(2))
    moved = (tmp_path / "a").rename(tmp_path / "b")
    assert first == again == drawn_set(moved, 5)[1].revision
    Image.new("RGB", (90, 70), "red").save(moved / "3.png")
    assert drawn_set(moved, 5)[1].revision != first
