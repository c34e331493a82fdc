"""Is my loss right? Probes for any training: each looks for one kind of bug and says what it found.

A bug in a training rarely stops it: the loss still falls. So each probe measures something that must be true, such as
that nothing before token t depends on token t. The probes need only a model, from ids to logits, and a function that
makes one optimizer step, so they work on other people's loops too.

In this room: the probes of a model, of a step, of losses and of a text; `subject`, what they examine, and `diagnose`,
which runs them all; `report`, their findings; `instruments`, what they measure with; `runs`, which takes a run of this
package apart for them. Not in this room: the trainings with known bugs that the course examines (`course.clinic`), and
the checks of the machine (`doctor`).
"""
