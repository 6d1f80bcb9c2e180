"""The sentences of `dynlab.explanation` that have holes and are longer than a line, whole, each hole with its name.

`SENTENCE.format(hole=...)` fills them. E is the head, w_j a neuron, v_l a feature; `signal` is <w_j, v_l> as it is written.
"""

from __future__ import annotations

# Where the run is.
COLLAPSED = (
    "COLLAPSED at {at}: both neurons point along {direction}, so both outputs say the same (effective rank {rank:.2f} of 2)."
)
ONE_FEATURE = (
    "ONE FEATURE at {at}: both neurons hold the {feature} feature, with opposite signs, so the outputs differ "
    "(effective rank {rank:.2f} of 2), but no neuron has the other feature."
)
PHASE_2 = "PHASE II (substitution) at {at}: {learnt} and lends it to output {borrower} through head entry {entry}"
PHASE_3 = (
    "PHASE III (acceleration) at {at}: the head is past its peak, and neuron {borrower} is learning the {feature} feature"
)

# The phases gone through.
RUNS_AWAY = (
    "Only *{term}* pushes: a signal grows the faster the larger it is, and {signal} (how far neuron {neuron} reaches "
    "along the {feature} feature) runs away from the next, {other} (relative growth {both})."
)
DRIVE = (
    "Output {borrower} is noisy, and borrowing neuron {lender}'s answer through head entry {entry} makes its two views "
    "agree: at {at} the *drive* on {entry} is {drive:.2g}, what holds it back {held:.1g}."
)
NOT_CLEAN = (
    "It is not clean here: at {at} borrowing pushes {signal} at the relative rate {borrowing:.2g} per {unit}, learning "
    "at {learning:.2g}, all terms together at {whole:.2g}."
)
NEXT_ONE = (
    "Output {borrower} has the {first} feature already, so the {second} one is next: at {at} *borrowing* makes "
    "{signal} grow at the relative rate {borrowing:.2g} per {unit}; by learning alone it would grow at {learning:.2g}."
)
COMPARED = (
    "At the same state with E = I {second} would grow {without:.2g} times as fast: the head {speeds} (dynlab's "
    "comparison), and {beside}: it {favours} the {feature} feature (Wen & Li's)."
)
RETURNS = (
    "Neuron {borrower} has a feature of its own, and what {entry} lends is not in its target: the *mismatch* pulls "
    "with {held:.2g} against a drive of {drive:.1g}."
)
OWN_RACE = "Its own race, by theory: {strong} runs away at {first}, {weak} at {second}; the earlier one wins."
TOO_LATE = (
    "When neuron {borrower} had learnt something too, at {at}, the largest head entry was {size:.2g} (its largest "
    "ever: {peak:.2g}): too late to lend."
)
LOST_RACE = (
    "III  failed. Output {borrower} asks both neurons it hears for the {feature} feature: at {at} its own {own} grows "
    "at {own_rate:.2g} per {unit}, the lender's {asked} at {asked_rate:.2g}. {wins}, the outputs become parallel, "
    "borrowing stops to pay, and the head stays."
)
UNEXPECTED = (
    "by its own race neuron {borrower} takes the {feature} feature at {own}, sooner than the substitution is over by "
    "theory, {peak}."
)
RACE = (
    "the product of the four signals is positive, so there is a race, and |{own}| over sqrt(r/3) |w_{borrower}| "
    "|{asked}| is {lead:.2g} at the end of I, {verdict} (r: eta_head/learning rate)"
)
SECOND_ROUTE = (
    "the head is slow beside dim (second route): neuron {borrower} collapses onto the {feature} feature before the "
    "head is at its bound. Then |{own}/{own_first}| is {lead:.2g} times |{asked}/{asked_first}|, {verdict}"
)

# What pushes, shares, noise, advice.
HEAD_ENTRY = "    {entry} = {value:.2g}, times eta_head: drive {drive}, lender's noise {noise}, mismatch {mismatch}"
SHARES = (
    "Of {starts} starts {both} learn both features (95 % interval {low:.1f} to {high:.1f}), {strong} the strong one "
    "alone, {weak} the weak one alone; {merged} end with both outputs the same"
)
SAMPLES_NOISE = (
    "Noise of the samples: that of one batch of {batch} is {ratio:.2g} times the gradient (as large as it at a batch "
    "of {scale:.2g}); the force on {signal} outgrows it in {steps:.2g} steps."
)
CANNOT_TELL = "{pairs} starts cannot tell (a difference between {low:+.1f} and {high:+.1f} %)"
TRIED = (
    "Tried {change}, exact flow, {starts} starts: both features {before} before, {after} after: {verdict} (of {pairs} "
    "starts {gained} only after, {lost} only before); outputs the same {merged_before} before, {merged_after} after."
)
RESCUING_RATE = (
    "--eta-head {rate:.2g}: the exact flow from this very start then learns both features (followed to the end); the "
    "head must neither be so fast that the lender wins the race, nor, below about 1/dim, so slow that the borrower "
    "collapses first"
)
LENDS = (
    "--head off-diagonal: the head lends the feature learnt first, and the other one is learnt next; for large dim and "
    "small weak/strong all but {share:.2g} % of the starts are rescued"
)

# Pictures.
PICTURES_OUTPUTS = (
    "The outputs z of the {part}{less}: effective rank {rank:.1f} of {of} (how many directions they use), mean absolute "
    "correlation {correlation:.2f} (1: all say the same){judged}; at the first step {first_rank:.1f} and "
    "{first_correlation:.2f}, lowest rank {lowest:.1f} at step {lowest_step}."
)
MEDIANS = ", medians of the last {count} records"
PICTURES_SIZE = (
    "Size: z varies by {sd:.3g} from picture to picture (standard deviation, mean over outputs), at unit length by "
    "{unit_sd:.3g} (1/sqrt(m) = {alike:.3g}: all directions alike; 0: one direction)."
)
PICTURES_TEACHER = (
    "The teacher's distributions: entropy of their mean {of_mean:.2f}, mean of their entropies {mean:.2f} nats (log m "
    "= {most:.2f}); the difference is what tells pictures apart."
)
PICTURES_DIVERGED = (
    "step {step}: the outputs (they vary by {sd:.2g}), the head (its norm is {norm:.2g}) or the loss ({loss:.3g}) are "
    "beyond all measure"
)
PICTURES_DIP = (
    "TOO EARLY TO TELL at {at}: the outputs are alike, but runs that go well pass through this in their first {dip} steps"
)
PICTURES_BEFORE = (
    "What was recorded last, at step {step}: effective rank {rank:.1f} of {of}, mean absolute correlation "
    "{correlation:.2f}, loss {loss:.3g}{head}."
)
PICTURES_HEAD = (
    "Head: ||off-diag(E)||, the size of what outputs borrow, is {norm:.2f} (asymmetry {asymmetry:.2f}), {trend}: "
    "{meaning}. Its largest was {peak:.2f} at epoch {epoch:.3g}; were the z uncorrelated and alike, {lent:.1f} % of "
    "the outputs' energy would be borrowed."
)
WATCHED_RANK = (
    "Rank of z: {first:.3g} at the first record (step {first_step}), {lowest:.3g} at its least (step {lowest_step})."
)
WATCHED_TITLE = "a monitored training loop, step {step}, {records} records of {rows} rows of {outputs} outputs; {status}"
WATCHED_HEAD = (
    "Head: entries off the diagonal have norm {norm:.3g}, {trend} (peak {peak:.3g} at step {peak_step}), asymmetry "
    "{asymmetry:.2f}: {meaning}."
)
WATCHED_IDLE = "Head: it has no entry off its diagonal: it lends nothing, or does not train."
WATCHED_LOSS = "The loss, {loss:.3g}, does not tell: outputs that are copies agree as well as any, or better."
WATCHED_SETTINGS = (
    "The settings of this loop are not known, so no cause is named. Save z and the head as arrays, and dynlab diagnose "
    "z.npy --head E.npy says what to change first."
)
LAYERED_BATCH = (
    "Of the {runs} runs with batches of {batch}, from the same start, {every} {every_ends} with every feature carried, "
    "{same} {same_ends} with outputs that say the same."
)
