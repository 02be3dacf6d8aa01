"""Systematic exploration: fail every call site that a body of code reaches, and judge.

In the order in which a campaign uses them: ``scope`` says whose code is under
test, ``census`` writes down the sites that a clean run reaches, ``plan`` chooses
the faults, ``trial`` runs the body once with one of them, ``isolation`` keeps
that run away from this process, ``oracles`` look for what it left behind,
``outcome`` gives it one name, ``replay`` spells it in one argument.
"""
