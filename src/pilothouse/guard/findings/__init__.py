"""What is wrong in the cluster, with owners and history, in a database beside the cluster's store.

A *source* (`checks`, `images`, `access` …) judges *subjects*: whatever it looks at in one go, named by a key of its own
that stays the same from one judgement to the next (`Deployment/shop/app`, `image/shop/deployment/app/front`).

    await findings.report([Report("images", subject, (Found(finding, {"digest": …}), …), Basis(data="2026-11-25"))])

A report carries **all** that is wrong with its subject now; the store finds the difference: what is new opens, what is
missing resolves, what stays keeps its age. An empty tuple resolves everything; without a basis too, it forgets the
subject. `await findings.retain("images", subjects)` after a complete look resolves what belongs to subjects that are no
more. `Basis` says what the judgement rests on (the object's version, the rules', the data's), so that a new finding can
say which of them changed.

Readers use the API (`findings.guard.pilothouse.dev`) or, in process, `Findings.state`, a `Store` that can only be read.
"""
