"""The zoo as a library: light to import, tensors of any kind, and sentences for what does not fit."""

import subprocess
import sys

import pytest
import torch

import credit_zoo as cz
from credit_zoo.registry import SHAPERS
from credit_zoo.testing.hard_inputs import hard_cases
from credit_zoo.types import SIGNALS

A = torch.tensor([1.0, -1.0])
MASK = torch.tensor([[True, False, True], [True, True, True]])
H = torch.tensor([[0.5, 9.0, 1.5], [0.1, 0.2, 0.9]])
VS = torch.tensor([[0.1, 0.9, 0.3], [0.2, 0.4, 0.0]])


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_importing_the_package_imports_nothing_heavy():
    done = python("import sys, credit_zoo; print(sorted({'torch', 'numpy', 'pandas', 'gin'} & set(sys.modules)))")
    assert done.stdout.strip() == "[]", done.stderr


def test_the_face_hands_on_what_it_promises_also_after_the_modules_of_those_names_were_imported():
    code = (
        "import credit_zoo as cz; import credit_zoo.run, credit_zoo.shapers.pepo, credit_zoo.testing\n"
        "assert {'pepo', 'uniform'} <= set(cz.shapers().index)\n"
        "assert callable(cz.run) and callable(cz.shape) and callable(cz.check_shaper)\n"
        "assert cz.shapers().loc['pepo', 'needs'] == 'visual_similarity, entropy'\n"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr


def test_uniform_spreads_the_advantage_evenly_and_leaves_the_rest_0():
    assert cz.shape("uniform", advantage=A, mask=MASK).tolist() == [[1, 0, 1], [-1, -1, -1]]


def test_a_rule_is_the_same_by_name_and_as_an_instance_and_tells_its_needs():
    rule = cz.shaper("pepo", alpha=0.1)
    assert rule.needs == ("visual_similarity", "entropy") and rule.alpha == 0.1
    signals = {"entropy": H, "visual_similarity": VS}
    assert torch.equal(cz.shape(cz.shaper("pepo"), advantage=A, mask=MASK, **signals),
                       cz.shape("pepo", advantage=A, mask=MASK, **signals))  # fmt: skip


@pytest.mark.parametrize("name", sorted(SHAPERS))
def test_what_the_library_gives_is_what_the_loop_gets(name):
    from credit_zoo.objective.shaping import shape

    for x in hard_cases().values():
        signals = {one: x.signals.values[one] for one in SHAPERS[name].facts.needs}
        found = cz.shape(
            name, advantage=x.advantage, mask=x.mask, group=x.group, ids=x.ids, progress=x.progress, **signals
        )
        assert torch.equal(found, shape(SHAPERS[name].factory(), x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("mask", [MASK, MASK.long(), MASK.float(), MASK.to(torch.uint8), MASK.tolist()])
def test_any_float_and_any_mask_of_0_and_1_are_taken(dtype, mask):
    found = cz.shape("entropy", advantage=A.to(dtype), mask=mask, entropy=H.to(dtype))
    assert found.dtype == torch.float32 and not found.requires_grad
    assert torch.allclose(found, cz.shape("entropy", advantage=A, mask=MASK, entropy=H), atol=2e-2)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 0)])
def test_no_responses_and_no_tokens_are_no_error(shape):
    nothing = torch.zeros(shape)
    found = cz.shape("entropy", advantage=torch.zeros(shape[0]), mask=nothing, entropy=nothing)
    assert found.shape == shape and found.dtype == torch.float32


def test_nothing_is_read_outside_the_mask_and_no_gradient_comes_back():
    junk = torch.where(MASK, H, torch.nan).requires_grad_()
    found = cz.shape("entropy", advantage=A, mask=MASK, entropy=junk)
    assert torch.equal(found, cz.shape("entropy", advantage=A, mask=MASK, entropy=H)) and not found.requires_grad


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"advantage": A[:, None]}, r"advantage must be \[B\], one number a response, got \[2, 1\]"),
        ({"mask": MASK[0]}, r"mask must be \[B, T\] with B = 2, got \[3\]"),
        ({"mask": MASK[:1]}, r"mask must be \[B, T\] with B = 2, got \[1, 3\]"),
        ({"mask": MASK.long() * 2}, "mask must be bool, or numbers 0 and 1; got torch.int64 with 2"),
        ({"entropy": H[:, :2]}, r"entropy must be \[2, 3\] like the mask, got \[2, 2\]"),
        ({"entropy": H * torch.inf}, "entropy is not finite at row 0, token 0, which the mask counts"),
        ({"entropy": None}, "needs the signals entropy"),
        ({"entrpy": H}, "no signal named 'entrpy'. Did you mean 'entropy'?"),
        ({"group": torch.zeros(3)}, r"group must be \[2\] like the responses, got \[3\]"),
        ({"ids": torch.zeros(2, 2)}, r"ids must be \[2, 3\] like the responses, got \[2, 2\]"),
        ({"ids": torch.full((2, 3), 0.5)}, "ids must be whole numbers"),
        ({"progress": 1.5}, r"progress must be in \[0, 1\]"),
        ({"progress": "half"}, r"progress must be in \[0, 1\].*'half'"),
        ({"advantage": A * torch.nan}, "advantage is not finite at row 0"),
        ({"advantage": A * 1j}, "advantage must be of real numbers, got torch.complex64"),
        ({"mask": "yes"}, "mask must be a tensor, an array or lists of numbers, got 'yes'"),
        ({"entropy": [[1.0], [2.0, 3.0]]}, "entropy must be a tensor, an array or lists of numbers"),
    ],
)
def test_what_does_not_fit_is_a_sentence(change, said):
    given = {"advantage": A, "mask": MASK, "entropy": H} | change
    with pytest.raises(cz.UsageError, match=said):
        cz.shape("entropy", **{name: value for name, value in given.items() if value is not None})


def test_a_rule_or_a_setting_that_is_not_there_is_answered_with_the_nearest():
    with pytest.raises(cz.UsageError, match="Did you mean 'pepo'"):
        cz.shaper("peppo")
    with pytest.raises(cz.UsageError, match="Did you mean 'alpha'"):
        cz.shaper("pepo", alhpa=1)
    with pytest.raises(cz.UsageError, match="has no settings"):
        cz.shaper("uniform", alpha=1)


def test_the_statistics_of_tokens_are_those_of_the_whole_matrix():
    torch.manual_seed(0)
    hidden, head, ids = torch.randn(2, 3, 8), torch.nn.Linear(8, 11), torch.randint(11, (2, 3))
    found = cz.token_statistics(hidden, head, ids, temperature=0.7)
    logp = torch.log_softmax(head(hidden) / 0.7, -1)
    assert torch.allclose(found.logp, logp.gather(-1, ids[..., None])[..., 0], atol=1e-5)
    assert torch.allclose(found.entropy, -(logp.exp() * logp).sum(-1), atol=1e-5)


def test_every_signal_of_the_table_is_a_signal():
    needs = {one for text in cz.shapers()["needs"] for one in text.split(", ") if one}
    assert needs <= set(SIGNALS)


def test_a_run_from_code_gives_its_record(tiny, tmp_path, monkeypatch):
    from credit_zoo.policy.export import export_policy

    monkeypatch.chdir(tmp_path)
    model = export_policy(tiny, tmp_path / "tiny")
    (record,) = cz.run(
        "bench=geometry3k scale=smoke", eval_only=True,
        **{"model.path": model, "eval.questions": 2, "eval.samples": 2, "eval.max_tokens": 8, "eval.greedy": False},
    )  # fmt: skip
    assert record.training is None and record.evaluations[0].questions == 2
    assert sorted(one.name for one in tmp_path.iterdir()) == ["results", "runs", "tiny"]
    with pytest.raises(cz.UsageError, match="Did you mean 'geometry3k'"):
        cz.run(bench="geometry3")


def test_the_example_of_the_documentation_runs():
    import re
    from pathlib import Path

    page = (Path(__file__).parents[1] / "docs" / "library.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[-1]
    names: dict = {}
    exec(code, names)  # our own page
    assert names["rule"].needs == ("entropy",) and names["loss"].requires_grad
    assert torch.allclose(names["token_advantage"].mean(1), names["advantage"], atol=1e-5)
