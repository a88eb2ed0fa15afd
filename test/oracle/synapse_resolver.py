"""Resolves states with Synapse's state resolution: one JSON object a line in, one a line out.

In:  {"version": "10", "room_id": "!r:a", "events": [<PDU>, ...], "cases": [[[<event id>, ...], ...], ...]}
Out: {"event_ids": [<id of each PDU>, ...], "resolved": [[<event id>, ...], ...]}   or   {"error": "..."}

All events are handed over as not yet stored, so that Synapse computes the auth difference and the conflicted subgraph itself.
"""

import json
import logging
import sys
import traceback

from synapse.api.room_versions import KNOWN_ROOM_VERSIONS, StateResolutionVersions
from synapse.events import make_event_from_dict

# First, or else Synapse's modules import one another in a circle.
from synapse.storage.databases.main.event_federation import StateDifference
from synapse.state import v1, v2  # isort: skip


class Clock:
    async def sleep(self, duration):
        return None


class EmptyStore:
    """What a server with an empty database would answer."""

    async def get_events(self, event_ids, allow_rejected=False):
        return {}

    async def get_auth_chain_difference(self, room_id, state_sets, conflicted_state, additional):
        return StateDifference(set(), None if conflicted_state is None else set())


def finish(coroutine):
    """Runs what never really waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("the resolver waits for something")


def with_auth_chains(events, event_ids):
    """The events a case is about, to spare Synapse the others."""
    found = {}
    pending = list(event_ids)
    while pending:
        event_id = pending.pop()
        if event_id not in found:
            found[event_id] = events[event_id]
            pending.extend(events[event_id].auth_event_ids())
    return found


def resolve(version, room_id, events, sets):
    states = [{(events[i].type, events[i].state_key): i for i in ids} for ids in sets]
    if version.state_res == StateResolutionVersions.V1:

        async def find(event_ids):
            return {i: events[i] for i in event_ids}

        resolved = finish(v1.resolve_events_with_store(room_id, version, states, None, find))
    else:
        known = with_auth_chains(events, [i for ids in sets for i in ids])
        resolved = finish(v2.resolve_events_with_store(Clock(), room_id, version, states, known, EmptyStore()))
    return sorted(resolved.values())


def answer(question):
    version = KNOWN_ROOM_VERSIONS[question["version"]]
    made = [make_event_from_dict(pdu, version) for pdu in question["events"]]
    events = {event.event_id: event for event in made}
    return {
        "event_ids": [event.event_id for event in made],
        "resolved": [resolve(version, question["room_id"], events, sets) for sets in question["cases"]],
    }


logging.disable(logging.CRITICAL)
for line in sys.stdin:
    try:
        reply = answer(json.loads(line))
    except Exception:
        reply = {"error": traceback.format_exc()}
    print(json.dumps(reply), flush=True)
