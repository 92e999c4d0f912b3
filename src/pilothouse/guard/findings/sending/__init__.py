"""Findings sent on: to a webhook, Slack, GitHub or Jira.

What is to be sent is worked out from what is open and what was sent, both kept in the database: an event is never
queued. So nothing is lost while a tracker is down, what came and went meanwhile is never sent, and when it is back it
gets what is left at a bounded rate.
"""
