"""What the words and numbers of the leaderboard's pages mean: the end of the front page."""

DEFINITIONS = """## Definitions

A row is one rule under one base: the mean over its seeds of the benchmark's headline metric, avg@N (mean over questions
of the mean over N sampled answers), in percent. One section holds runs with the same training questions, model, steps
and loop settings; one table holds one measurement: the same benchmark version, questions, decoding, grader and prompt.
Numbers from different tables do not compare.

- **95% interval**: bootstrap over seeds and questions, for the mean that more seeds and more such questions would give.
- **while learning**: the mean over the steps of the share of right answers among those sampled to learn from, the area
  under the learning curve: who learns sooner. Every question is new to the policy that answers it, and a run answers
  thousands; the intervals are over seeds, by Student's t. A table of its own, with p adjusted over its
  rules.
- **vs uniform**: the difference to `uniform` under the same base, paired by seed and question, in points, with its 95%
  interval. An interval that holds 0 shows no difference.
- **p**, **p, Holm**: the two-sided p value that the interval stands for (Student's t, a degree of freedom less than
  seeds), alone and adjusted by Holm's method over the rules of the table under the same base; controls are adjusted
  among themselves. Below .05 the adjusted one *tells* a rule from `uniform`: if no rule differed, any rule would be
  told in at most 5% of tables.
- **efficiency**, **own shuffle**, **AUROC**, **rank** of credit: see [CREDIT.md](CREDIT.md). Their p values take a
  degree of freedom less than batches.
- **rank**: among the rules of one base, by this difference on the seeds that rule and `uniform` have in common, three
  or more; `uniform` stands at 0, and equal differences share a rank. Not by the means: they are over different seeds.
- **std W**, **ESS**: spread of the token weights and their effective sample size (sum W)^2 / (T sum W^2), mean over the
  run. An ESS near 1 means that the rule did next to nothing.
- **before**: the same measurement before training. **prompts**, **tokens**: sampled in training, thousands a run of the
  latter, those that a filter dropped among them.
- **@** and six digits tell runs of one rule whose code differs: its own source or what it imports of the package. They
  are rows of their own; the one that ran last is compared with, the others are flagged as older code.
- **identity**: what besides the rule decides the numbers. Runs recorded before it was (schema 1) have sections of their
  own and compare with nothing newer. A rerun of the same identity counts once, the earlier; one that names the run
  whose place it takes (`supersedes=RUN_ID`) is flagged with it.
- **IQM**: interquartile mean of the run scores over seeds and benchmarks, in percent and not normalised, with a
  bootstrap interval over seeds. **P(better than uniform)**: how often a run beats a run of `uniform`, mean over
  benchmarks; 0.5 is chance. Its interval is that of as many tosses as the side with fewer seeds has: no distribution of
  scores needs a wider one. Questions and benchmarks are fixed in both (arXiv:2108.13264).
- **Noise floor**: **sd** is the standard deviation between seeds, in points, with its 95% chi-square interval; the
  questions are fixed. **5 seeds each show**: the smallest true difference between two rules that a two-sided t test at
  5% finds four times in five, in points: unpaired if both rules have the sd of `uniform`, paired from the sd of the
  differences. Few seeds know their own sd poorly; the brackets carry its interval over.
- Fewer than three seeds are shown unranked, with intervals over questions alone: they say nothing about another run.
- A blank cell was not measured. **flags**: `dirty` is a run from a changed working tree; others come from the run.
"""
