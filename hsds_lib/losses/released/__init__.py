"""The losses as the authors' released code computes them, for parity alone (RollingPlain/HSDS_MEF at 601166f).

Where that code is wrong or differs from the paper, the rest of the library follows the paper. Formulas and
constants in here were found by measuring the released code; nothing in here searches or trains.
"""
