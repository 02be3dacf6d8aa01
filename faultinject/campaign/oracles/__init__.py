"""The oracles: what a run left behind that a clean run does not leave.

Lives here: ``selection``, the names of the parts and the text that chooses among
them; ``bundle``, which puts the chosen ones around a run; and one file for each part:
``model``, ``descriptors``, ``threads``, ``children``, ``temporary``, ``locks`` (with
``holders``, which names them), ``tasks`` and ``lost``. Not here: the clean re-run
(`faultinject.campaign.trial`), and what a leftover means for the trial's name
(`faultinject.campaign.outcome`).

Always differential: a clean run fills caches and opens logs, and that is no leak.
"""
