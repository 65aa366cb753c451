"""Finds the healthy instances of a service, even while Portolan is unavailable. Python 3.8, standard library only."""
import json, os, random, urllib.error, urllib.parse, urllib.request

DISCOVER = os.environ.get("PORTOLAN_SERVER", "http://127.0.0.1:8080").rstrip("/") + "/api/v1/services/discover?"
TOKEN_FILE = os.environ.get("PORTOLAN_TOKEN_FILE")
last_good = {}

def discover(name, **selection):
    """The base URLs of the healthy instances, shuffled; none if Portolan knows that none is healthy.

    Without such an answer, the last good ones: an unavailable registry, or one that lost its data, must not stop its clients."""
    query = urllib.parse.urlencode({"name": name, "healthy": "true", **selection})
    try:
        headers = {"Authorization": "Bearer " + open(TOKEN_FILE).read().strip()} if TOKEN_FILE else {}
        request = urllib.request.Request(DISCOVER + query, headers=headers)
        with urllib.request.urlopen(request, timeout=1) as answer:
            last_good[query] = [instance["base_url"] for instance in json.load(answer)["data"]["instances"]]
    except Exception as error:
        if isinstance(error, urllib.error.HTTPError) and b'"no_healthy_instance"' in error.read():
            last_good[query] = []
        elif query not in last_good:
            raise
    return random.sample(last_good[query], len(last_good[query]))
