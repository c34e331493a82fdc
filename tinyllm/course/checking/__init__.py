"""How exercises work: what one is, how an answer is judged and diagnosed, and what is remembered of it.

`registry` has the table of exercises, `judging` compares an answer with the reference, `diagnosis` recognises known
mistakes, and `learner` has what a learner calls. `predictions` are questions whose answer is measured; `progress`
draws, and `grading` is for teachers. The exercises themselves are in `tinyllm.course.exercises`.
"""
