"""What ``agent-sessions-verify`` says of a bundle."""

from __future__ import annotations

import json

from agent_sessions.audit.bundle import BundleVerification


def report(result: BundleVerification) -> str:
    """Write the outcome for people."""
    if not result.ok:
        lines = ["NOT GOOD. This bundle proves nothing as it is."]
        lines += [f"  {problem.where} {problem.message} [{problem.code}]" for problem in result.problems]
        return "\n".join(lines)
    lines = [
        f"Good: bundle {json.dumps(result.bundle)[1:-1]}.",
        f"  {result.files} files, each as the manifest says, and no other.",
        f"  {result.sealed} sessions with a signed artifact, {result.live} that had not ended.",
        "  Evidence says what the events and the opened values of its proofs say.",
    ]
    if result.unreadable:
        lines.append(f"  OF {result.unreadable} SESSIONS THE SITE COULD GIVE NO EVIDENCE; index.jsonl says why.")
    if result.logged:
        lines.append(f"  {result.logged} artifacts carry a proof that they are in the site's log.")
    if result.trusted:
        lines.append(f"  Signed with key {result.key_id}, which you gave; every artifact with one that you gave.")
    else:
        lines.append(f"  WHO SIGNED IT IS NOT CHECKED (key {result.key_id}). Give the site's key with --key.")
    return "\n".join(lines)
