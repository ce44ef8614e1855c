"""Names: found by file, listed without torch, refused with a sentence that helps."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from credit_zoo.errors import UsageError, check_range
from credit_zoo.registry import SHAPERS, ShaperFacts

ROOT = Path(__file__).parents[1]
SOURCE = '''"""Every token gets the advantage, from {where}.

    A[b,t] = A[b]
"""
from dataclasses import dataclass

import torch

from credit_zoo.registry import SHAPERS


@SHAPERS.register("{name}", paper="none")
@dataclass(frozen=True)
class Shaper:
    def __call__(self, x):
        return x.weighted(torch.ones_like(x.mask, dtype=torch.float32))
'''


def write(folder, name, stem=None):
    file = folder / f"{stem or name}.py"
    file.write_text(SOURCE.format(name=name, where=folder.name))
    return file


def test_a_wrong_name_is_answered_with_the_nearest_and_the_list():
    with pytest.raises(UsageError, match=r"no shaper named 'peppo'\. Did you mean 'pepo'\?") as error:
        SHAPERS["peppo"]
    assert all(name in str(error.value) for name in SHAPERS)


def test_a_name_like_no_other_is_answered_with_the_list_alone():
    with pytest.raises(UsageError, match=r"no shaper named 'qqqqq'\. There are: ") as error:
        SHAPERS["qqqqq"]
    assert "Did you mean" not in str(error.value)


def test_every_file_of_the_folder_is_listed_with_its_summary():
    files = {file.stem for file in (ROOT / "credit_zoo" / "shapers").glob("[a-z]*.py")}
    listings = SHAPERS.listings()
    assert files <= set(listings)
    assert all(listings[name].summary.endswith(".") and listings[name].paper for name in files)


def test_the_listing_says_what_the_class_says():
    for name, listing in SHAPERS.listings().items():
        entry = SHAPERS[name]
        assert (entry.facts.paper, entry.doc.split("\n")[0], entry.file) == (
            listing.paper,
            listing.summary,
            listing.file,
        )


def test_every_shaper_has_a_config_that_starts_with_its_reason():
    for name, listing in SHAPERS.listings().items():
        if listing.file is not None and ROOT in listing.file.parents:
            assert (ROOT / "configs" / "shaper" / f"{name}.gin").read_text().startswith("# ")


def test_listing_imports_neither_torch_nor_a_shaper():
    code = (
        "import sys; from credit_zoo.registry import SHAPERS; names = list(SHAPERS); assert 'pepo' in names;"
        "loaded = [m for m in sys.modules if m == 'torch' or m.startswith('credit_zoo.shapers.')]; assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_two_files_of_one_name_are_refused_naming_both(tmp_path, own_registrations):
    file = write(tmp_path, "pepo")
    with pytest.raises(UsageError, match="two shapers are named 'pepo'") as error:
        own_registrations.add_plugin(file)
    assert str(file) in str(error.value)
    assert str(ROOT / "credit_zoo" / "shapers" / "pepo.py") in str(error.value)


def test_two_classes_of_one_name_are_refused_when_both_are_loaded():
    SHAPERS["pepo"]
    with pytest.raises(UsageError, match="two shapers are named 'pepo'") as error:
        SHAPERS.register("pepo", paper="none")(dataclass(frozen=True)(type("Copy", (), {"__module__": __name__})))
    assert __file__ in str(error.value)


def test_a_file_that_registers_another_name_is_refused(tmp_path, own_registrations):
    file = write(tmp_path, "one_name", stem="another_name")
    with pytest.raises(UsageError, match="registers 'one_name': a shaper's name is its file's name") as error:
        own_registrations.add_plugin(file)
    assert str(file) in str(error.value)


def test_a_folder_of_plugins_is_found(tmp_path, own_registrations):
    for name in ("folder_first", "folder_second"):
        write(tmp_path, name)
    own_registrations.add_plugin(tmp_path)
    assert {"folder_first", "folder_second"} <= set(own_registrations)
    entry = own_registrations["folder_second"]
    assert entry.file == tmp_path / "folder_second.py"
    assert own_registrations.of(entry.factory()) == entry
    assert entry.doc.startswith("Every token gets the advantage")


def test_a_plugin_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.py does not exist"):
        SHAPERS.add_plugin(tmp_path / "nowhere.py")


def test_a_plugin_with_a_syntax_error_names_its_file(tmp_path, own_registrations):
    file = tmp_path / "half.py"
    file.write_text("def half(:\n")
    with pytest.raises(UsageError, match=r"half\.py is not Python: .*line 1"):
        own_registrations.add_plugin(file)


def test_an_installed_package_brings_a_shaper_through_an_entry_point(tmp_path, monkeypatch, own_registrations):
    write(tmp_path, "from_afar")
    info = tmp_path / "afar-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: afar\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[credit_zoo.shapers]\nfrom_afar = from_afar:Shaper\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "from_afar" in own_registrations
    assert own_registrations["from_afar"].factory.__module__ == "from_afar"
    monkeypatch.delitem(sys.modules, "from_afar")


def test_an_instance_of_no_registered_class_is_refused():
    with pytest.raises(UsageError, match="object is not a registered shaper"):
        SHAPERS.of(object())


def test_a_scope_that_does_not_exist_is_refused():
    facts = ShaperFacts(paper="none")
    object.__setattr__(facts, "scope", "token")  # its type would be refused by the type checker of the tests
    with pytest.raises(UsageError, match="scope must be one of response, group, batch, got 'token'"):
        facts.__post_init__()


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan"), "0.5", None, True])
def test_a_value_outside_its_range_is_refused_by_its_typed_name(bad):
    with pytest.raises(UsageError, match=r"pepo.alpha must be in \[0, 1\], got"):
        check_range("pepo.alpha", bad, 0, 1)


def test_an_open_bound_is_not_part_of_the_range():
    check_range("pepo.temperature", 1e-9, 0, open_low=True)
    with pytest.raises(UsageError, match=r"pepo.temperature must be in \(0, inf\), got 0"):
        check_range("pepo.temperature", 0, 0, open_low=True)


def test_only_a_control_may_need_the_truth():
    with pytest.raises(UsageError, match="only a control may need truth_role"):
        ShaperFacts(paper="none", needs=("entropy", "truth_role"))
    assert ShaperFacts(paper="none", needs=("entropy", "truth_role"), control=True).truth == ("truth_role",)


def test_the_ratio_of_now_is_read_in_the_update_alone():
    for facts in ({"needs": ("log_ratio",)}, {"stage": "update"}):
        with pytest.raises(UsageError, match="exactly if its stage is 'update'"):
            ShaperFacts(paper="none", **facts)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("pepo", "pepo"),
        ("permuted:pepo", "permuted(pepo)"),
        ("permuted( pepo )", "permuted(pepo)"),
        ("mean:pepo+entropy", "mean(pepo,entropy)"),
        ("permuted:mean:pepo+entropy", "permuted(mean(pepo,entropy))"),
        ("permuted_pepo", "permuted(pepo)"),
    ],
)
def test_a_combination_has_one_name_however_it_is_typed(typed, name):
    assert SHAPERS[typed].name == name
    assert typed in SHAPERS


def test_what_is_a_control_is_read_from_the_sources():
    controls = {"oracle_exact", "anti_oracle", "random_sparse", "sharpen", "permuted(pepo)", "mean(pepo,anti_oracle)"}
    assert all(SHAPERS.is_control(name) and SHAPERS[name].facts.control for name in controls)
    others = {"pepo", "mean(pepo,entropy)", "renormalised(entropy)"}
    assert not any(SHAPERS.is_control(name) or SHAPERS[name].facts.control for name in others)
