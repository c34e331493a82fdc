"""How exercises work: what one is, how an answer is judged and diagnosed, and what is remembered of it.

`registry` has the table of exercises, `judging` compares an answer with the reference, `diagnosis` recognises known
mistakes. What is wrong with any other answer is found by `explaining`: it behaves like the reference with other
arguments (`substitutions`), or with one slip in its code (`variations`, `edits`), told in the learner's `own_words`. Or
by `results`: how wrong results are related to the right ones (`relations`, `made_of_results`, `laws`). Or by `unused`:
an argument has no effect. Or else `hints` says where it is right.

`learner` has what a learner calls. `predictions` are questions whose answer is measured; `progress` draws, and
`grading` is for teachers. The exercises themselves are in `tinyllm.course.exercises`.
"""
