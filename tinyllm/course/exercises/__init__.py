"""The exercises of each notebook: references in `chNN_<chapter>`, known mistakes in `chNN_<chapter>_mistakes`.

A reference is what `solution` prints. Do not read on if you want to find out for yourself.

How they are checked is in `tinyllm.course.checking`.
"""
