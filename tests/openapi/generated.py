"""Uses the client that was generated from openapi.json: registers, discovers, and deregisters an instance. URL and TOKEN name the server."""

import os
import time
import uuid

from client import AuthenticatedClient
from client.api.discovery import discover, get, list_
from client.api.registration import deregister_instance, drain, heartbeat, register
from client.models import (
    BeatRequest,
    Check,
    Done,
    DrainRequest,
    Heard,
    HeartbeatCheck,
    HttpCheck,
    ManyServices,
    NamedCheck,
    OneService,
    Refusal,
    Registration,
)

NAME = "generated"


def expect(answer, kind):
    """The answer, which must have been read as `kind`."""
    assert isinstance(answer, kind), f"{kind.__name__} expected: {answer}"
    return answer


def soon(ask, kind):
    """What `ask` answers once that is of the `kind`."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        answer = ask()
        if isinstance(answer, kind):
            return answer
        time.sleep(0.1)
    return expect(answer, kind)


def main():
    server = AuthenticatedClient(base_url=os.environ["URL"], token=os.environ["TOKEN"])
    body = Registration(
        name=NAME,
        base_url="http://127.0.0.1:9",
        instance="a",
        check=Check(heartbeat=HeartbeatCheck(ttl_seconds=30)),
        checks=[NamedCheck(name="disk", advisory=True, http=HttpCheck(path="/healthz"))],
    )
    refused = expect(register.sync(client=server, body=Registration(name=NAME, base_url="nowhere")), Refusal)
    assert [detail.field for detail in refused.details] == ["base_url"], refused
    service = expect(register.sync(client=server, body=body), OneService).data
    assert [check.name for check in service.instances[0].checks] == ["disk"], service

    beat = heartbeat.sync(client=server, id=service.id, name="a", body=BeatRequest(status="pass"))
    assert expect(beat, Heard).data.ttl_seconds == 30
    found = soon(lambda: discover.sync(client=server, name=NAME, healthy=True), OneService).data
    assert [instance.base_url for instance in found.instances] == ["http://127.0.0.1:9"], found
    assert expect(get.sync(client=server, id=service.id), OneService).data.status == "healthy"
    listed = expect(list_.sync(client=server, tag=[]), ManyServices).data
    assert [one.name for one in listed] == [NAME], listed

    drained = drain.sync(client=server, id=service.id, name="a", body=DrainRequest(reason="update"))
    assert expect(drained, OneService).data.instances[0].drain.reason == "update"
    expect(deregister_instance.sync(client=server, id=service.id, name="a"), Done)
    assert expect(get.sync(client=server, id=service.id), Refusal).code == "service_not_found"
    assert expect(get.sync(client=server, id=uuid.uuid4()), Refusal).code == "service_not_found"
    print("interop: openapi-python-client | a client from `openapi.json`: register, discover, drain, deregister | typed responses, and typed errors")


if __name__ == "__main__":
    main()
