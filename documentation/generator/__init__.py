"""Reference pages made from the code: `make reference` writes them, a test compares them.

Every page is a pure function of parsers, dataclasses and column lists. Nothing depends on the environment, the width of
a terminal or the version of Python: tables are built from the arguments of a parser, not from its help.
"""
