"""The exercises of each notebook: references in `chNN_<chapter>`, known mistakes in `chNN_<chapter>_mistakes`.

`chNN_<chapter>_forms` has right answers in other words, so that a slip in any of them is recognised. A reference is
what `solution` prints. Do not read on if you want to find out for yourself.

How they are checked is in `tinyllm.course.checking`.
"""
